//! The scan against a scripted index.

#[cfg(test)]
mod attacks;
#[cfg_attr(fuzzing, allow(dead_code))]
pub(crate) mod cells;
#[cfg(test)]
mod finding;
#[cfg(fuzzing)]
pub mod fuzzing;
#[cfg(test)]
mod gaps;
mod host;
#[cfg(test)]
mod hostile;
#[cfg_attr(fuzzing, allow(dead_code))]
mod index;
#[cfg_attr(fuzzing, allow(dead_code))]
pub(crate) mod ledger;
#[cfg(test)]
mod limits;
#[cfg(test)]
mod proofs;
#[cfg(test)]
mod reading;
#[cfg(test)]
mod vectors;
