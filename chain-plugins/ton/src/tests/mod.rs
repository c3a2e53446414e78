//! The scan against a scripted index.

mod attacks;
pub(crate) mod cells;
mod gaps;
mod hostile;
mod index;
mod limits;
mod reading;
mod vectors;
