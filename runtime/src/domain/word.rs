//! Enums whose cases are words: one spelling for the code's case, the API and the database.

/// A case that is one word in the API and in the database.
pub trait Word: Copy {
    /// Returns the word.
    fn word(self) -> &'static str;
}

/// A text that is none of a type's words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no {of}: {text}")]
pub struct NoWord {
    pub of: &'static str,
    pub text: String,
}

macro_rules! words {
    ($(#[$meta:meta])* $name:ident { $($(#[$case_meta:meta])* $case:ident = $word:tt,)* }) => {
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
        $(#[$meta])*
        #[allow(unreachable_pub)]
        pub enum $name { $($(#[$case_meta])* #[serde(rename = $word)] $case,)* }

        #[allow(unreachable_pub)]
        impl $name {
            /// The word in the API and in the database.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$case => $word,)* }
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::domain::word::NoWord;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                match text {
                    $($word => Ok(Self::$case),)*
                    other => Err($crate::domain::word::NoWord { of: stringify!($name), text: other.to_owned() }),
                }
            }
        }

        impl $crate::domain::word::Word for $name {
            fn word(self) -> &'static str {
                self.as_str()
            }
        }
    };
}
pub(crate) use words;
