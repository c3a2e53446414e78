//! What goes into a statement and what comes out of it, the same for both databases.

use std::borrow::Cow;

use sqlx::{Row as _, postgres::PgRow, sqlite::SqliteRow};

use super::DbError;
use crate::domain::{
    event,
    id::*,
    money::Amount,
    tenant::{Mode, Tenant},
    verbatim::Verbatim,
    word::Word,
};

/// An argument of a statement. A null has a type too, since PostgreSQL needs it.
#[derive(Debug, Clone)]
pub(crate) enum Value {
    Int(Option<i64>),
    Text(Option<Cow<'static, str>>),
    Blob(Option<Vec<u8>>),
}

/// The arguments of a statement: `args![id, amount]`.
macro_rules! args {
    ($($value:expr),* $(,)?) => { vec![$($crate::db::Value::from($value)),*] };
}
pub(crate) use args;

impl<T: Word> From<T> for Value {
    fn from(value: T) -> Self {
        Self::from(value.word())
    }
}
macro_rules! of_ids {
    ($($(#[$meta:meta])* $name:ident = $prefix:literal,)*) => { $(
        impl From<$name> for Value {
            fn from(id: $name) -> Self {
                Self::from(&id)
            }
        }
        impl From<&$name> for Value {
            fn from(id: &$name) -> Self {
                Self::from(id.as_str().to_owned())
            }
        }
        impl From<Option<$name>> for Value {
            fn from(id: Option<$name>) -> Self {
                Self::from(id.as_ref())
            }
        }
        impl From<&Option<$name>> for Value {
            fn from(id: &Option<$name>) -> Self {
                Self::from(id.as_ref())
            }
        }
        impl From<Option<&$name>> for Value {
            fn from(id: Option<&$name>) -> Self {
                Self::from(id.map(|id| id.as_str().to_owned()))
            }
        }
    )* };
}
ids!(of_ids);

impl From<&event::Type> for Value {
    fn from(kind: &event::Type) -> Self {
        Self::from(kind.as_str().to_owned())
    }
}
impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Int(Some(value))
    }
}
impl From<Option<i64>> for Value {
    fn from(value: Option<i64>) -> Self {
        Self::Int(value)
    }
}
impl From<u32> for Value {
    fn from(value: u32) -> Self {
        Self::Int(Some(i64::from(value)))
    }
}
impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Int(Some(i64::from(value)))
    }
}
/// The column `test`.
impl From<Mode> for Value {
    fn from(mode: Mode) -> Self {
        Self::from(mode.is_test())
    }
}
impl From<&'static str> for Value {
    fn from(value: &'static str) -> Self {
        Self::Text(Some(Cow::Borrowed(value)))
    }
}
impl From<String> for Value {
    fn from(value: String) -> Self {
        Self::Text(Some(Cow::Owned(value)))
    }
}
impl From<&String> for Value {
    fn from(value: &String) -> Self {
        Self::Text(Some(Cow::Owned(value.clone())))
    }
}
impl From<Option<String>> for Value {
    fn from(value: Option<String>) -> Self {
        Self::Text(value.map(Cow::Owned))
    }
}
impl From<&Option<String>> for Value {
    fn from(value: &Option<String>) -> Self {
        Self::from(value.clone())
    }
}
impl From<Amount> for Value {
    fn from(value: Amount) -> Self {
        Self::from(value.to_string())
    }
}
impl From<Option<Amount>> for Value {
    fn from(value: Option<Amount>) -> Self {
        Self::from(value.map(|amount| amount.to_string()))
    }
}
impl From<Vec<u8>> for Value {
    fn from(value: Vec<u8>) -> Self {
        Self::Blob(Some(value))
    }
}
impl From<Option<Vec<u8>>> for Value {
    fn from(value: Option<Vec<u8>>) -> Self {
        Self::Blob(value)
    }
}
impl From<&serde_json::Value> for Value {
    fn from(value: &serde_json::Value) -> Self {
        Self::from(value.to_string())
    }
}
impl From<&Verbatim> for Value {
    fn from(value: &Verbatim) -> Self {
        Self::from(value.text().to_owned())
    }
}
impl From<&Option<Verbatim>> for Value {
    fn from(value: &Option<Verbatim>) -> Self {
        Self::from(value.as_ref().map(|value| value.text().to_owned()))
    }
}

fn stored<I: Id>(column: &'static str, text: &str) -> Result<I, DbError> {
    I::stored(text).map_err(|error| DbError::Unreadable { column, why: error.to_string() })
}

/// A row of a result; columns are read by name.
#[derive(Debug)]
pub(crate) enum Row {
    Sqlite(SqliteRow),
    Postgres(PgRow),
}

macro_rules! get {
    ($row:expr, $column:expr) => {
        match $row {
            Row::Sqlite(row) => row.try_get($column).map_err(DbError::from),
            Row::Postgres(row) => row.try_get($column).map_err(DbError::from),
        }
    };
}

impl Row {
    pub(crate) fn int(&self, column: &'static str) -> Result<i64, DbError> {
        get!(self, column)
    }

    pub(crate) fn opt_int(&self, column: &'static str) -> Result<Option<i64>, DbError> {
        get!(self, column)
    }

    pub(crate) fn bool(&self, column: &'static str) -> Result<bool, DbError> {
        Ok(self.int(column)? != 0)
    }

    pub(crate) fn mode(&self, column: &'static str) -> Result<Mode, DbError> {
        self.bool(column).map(Mode::of_test)
    }

    /// The tenant that the row belongs to, by its columns `merchant_id` and `test`.
    pub(crate) fn tenant(&self) -> Result<Tenant, DbError> {
        Ok(Tenant { merchant: self.id("merchant_id")?, mode: self.mode("test")? })
    }

    /// The decimals of a joined asset; the schema keeps them in 0 to 30.
    pub(crate) fn decimals(&self) -> Result<u8, DbError> {
        u8::try_from(self.int("decimals")?)
            .map_err(|_| DbError::Unreadable { column: "decimals", why: "over 255".to_owned() })
    }

    pub(crate) fn text(&self, column: &'static str) -> Result<String, DbError> {
        get!(self, column)
    }

    pub(crate) fn opt_text(&self, column: &'static str) -> Result<Option<String>, DbError> {
        get!(self, column)
    }

    /// The id in a column. Errors if it is one of another kind.
    pub(crate) fn id<I: Id>(&self, column: &'static str) -> Result<I, DbError> {
        stored(column, &self.text(column)?)
    }

    pub(crate) fn opt_id<I: Id>(&self, column: &'static str) -> Result<Option<I>, DbError> {
        self.opt_text(column)?.map(|text| stored(column, &text)).transpose()
    }

    pub(crate) fn blob(&self, column: &'static str) -> Result<Vec<u8>, DbError> {
        get!(self, column)
    }

    pub(crate) fn opt_blob(&self, column: &'static str) -> Result<Option<Vec<u8>>, DbError> {
        get!(self, column)
    }

    pub(crate) fn amount(&self, column: &'static str) -> Result<Amount, DbError> {
        self.parsed(column)
    }

    pub(crate) fn opt_amount(&self, column: &'static str) -> Result<Option<Amount>, DbError> {
        match self.opt_text(column)? {
            None => Ok(None),
            Some(_) => self.amount(column).map(Some),
        }
    }

    /// Reads a text column by one of the domain's types.
    pub(crate) fn parsed<T>(&self, column: &'static str) -> Result<T, DbError>
    where
        T: std::str::FromStr,
        T::Err: std::fmt::Display,
    {
        self.text(column)?
            .parse()
            .map_err(|error: T::Err| DbError::Unreadable { column, why: error.to_string() })
    }

    /// Reads a column that holds JSON.
    pub(crate) fn json<T: serde::de::DeserializeOwned>(&self, column: &'static str) -> Result<T, DbError> {
        serde_json::from_str(&self.text(column)?)
            .map_err(|error| DbError::Unreadable { column, why: error.to_string() })
    }

    pub(crate) fn opt_json<T: serde::de::DeserializeOwned>(
        &self,
        column: &'static str,
    ) -> Result<Option<T>, DbError> {
        match self.opt_text(column)? {
            None => Ok(None),
            Some(_) => self.json(column).map(Some),
        }
    }
}
