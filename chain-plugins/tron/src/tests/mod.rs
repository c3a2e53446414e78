//! Natively, against a node that a test scripts.

mod attacks;
mod hostile;
mod limits;
mod node;
mod reading;
mod vectors;
