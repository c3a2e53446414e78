//! The choice of an endpoint's form.

use crate::{
    db::{
        Conn,
        hooks::{self, forms},
    },
    domain::id::Kind as IdKind,
    http::{
        auth::Merchant,
        problem::{Kind, Problem, sentence},
    },
};

/// The form that is none of the merchant's own. A hook of this name is chosen by its id.
pub(super) const STANDARD: &str = "standard";

/// What is chosen by this name, if one is given; inside: the hook that renders, which stays until the transaction ends, or
/// none for [`STANDARD`].
pub(super) async fn chosen(
    conn: &mut Conn,
    merchant: &Merchant,
    form: Option<&str>,
) -> Result<Option<Option<String>>, Problem> {
    let Some(form) = form else { return Ok(None) };
    if form == STANDARD {
        return Ok(Some(None));
    }
    let hook = match IdKind::Hook.accepts(form) {
        true => hooks::get(conn, &merchant.tenant, form).await?,
        false => hooks::by_name(conn, &merchant.tenant, form).await?,
    };
    let hook = hook.ok_or_else(|| refused("There is no hook of yours with this id or name."))?;
    hooks::lock(conn, &hook.id).await?;
    let callee = forms::callee(conn, &hook.id).await?.map_err(|none| refused(sentence(&none)))?;
    Ok(Some(Some(callee.hook_id)))
}

fn refused(why: impl Into<String>) -> Problem {
    Problem::new(Kind::FormRefused, why).field("form")
}
