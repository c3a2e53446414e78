//! Merchants' hooks: their calls, and the effects of their answers.
//!
//! The cast:
//! - [`queue`] claims the calls due for each hook and bounds how many run at once; it knows no role.
//! - [`call`] is one call: what it needs, the call itself, made again when others changed the hook's storage under it, and
//!   its effects, committed with its result.
//! - [`fulfil`], [`matching`] and [`rates`] are the roles: what is asked, and what the answer does.
//! - [`replay`] asks another version what was asked before, without effects; a version in the [`shadow`] is asked beside
//!   each call.
//! - [`manage`] is what the merchant does with its hooks: uploads, activates, configures, looks at them.

pub(crate) mod call;
pub(crate) mod fulfil;
pub(crate) mod manage;
pub(crate) mod matching;
pub(crate) mod prices;
pub(crate) mod queue;
pub(crate) mod rates;
pub(crate) mod replay;
pub(crate) mod shadow;
