//! The scan against a scripted node.

mod attacks;
mod hostile;
mod limits;
mod node;
mod reading;
mod vectors;
