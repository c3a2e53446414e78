//! The scan against a scripted node.

#[cfg(test)]
mod attacks;
#[cfg(test)]
mod balances;
#[cfg_attr(fuzzing, allow(dead_code))]
mod code;
#[cfg(test)]
mod cross_check;
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
mod traces;
#[cfg_attr(fuzzing, allow(dead_code))]
mod txs;
#[cfg(test)]
mod vectors;
#[cfg(test)]
mod weight;
