//! Natively, against a node that a test scripts.

#[cfg(test)]
mod attacks;
#[cfg(test)]
mod finding;
#[cfg(fuzzing)]
pub mod fuzzing;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod limits;
#[cfg_attr(fuzzing, allow(dead_code))]
mod node;
#[cfg(test)]
mod reading;
#[cfg(test)]
mod vectors;
