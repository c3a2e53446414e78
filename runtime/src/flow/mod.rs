//! The workers. Each does the same three steps: claim, decide (a pure function of facts and time), commit.

pub(crate) mod deliver;
pub(crate) mod dispatch;
pub(crate) mod expire;
pub(crate) mod invoices;
pub(crate) mod observe;
pub(crate) mod settle;
