//! The answers of the proxy as they go over the wire.

use std::io;

use bytes::Bytes;
use futures_util::stream;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::{Response, body::Frame};

use crate::wire::{Body, full};

pub(super) fn plain(code: u16, kind: &str, body: &'static str) -> Response<Body> {
    let builder = Response::builder().status(code).header("content-type", kind);
    builder.body(full(body)).expect("a response")
}

pub(super) fn refusal(code: u16, retry_after_s: Option<u32>) -> Response<Body> {
    let mut response = plain(code, "text/plain", "go away");
    if let Some(seconds) = retry_after_s {
        response.headers_mut().insert("retry-after", seconds.into());
    }
    response
}

fn json_response(status: u16, body: Body) -> Response<Body> {
    let builder = Response::builder().status(status).header("content-type", "application/json");
    builder.body(body).expect("a response")
}

pub(super) fn answered(status: u16, body: Vec<u8>) -> Response<Body> {
    json_response(status, full(body))
}

/// The first `length` bytes of the body, with a length that fits them.
pub(super) fn truncated(body: &[u8], length: usize) -> Response<Body> {
    json_response(200, full(body[..length].to_vec()))
}

/// Half of the body, after which the connection breaks.
pub(super) fn cut(body: &[u8]) -> Response<Body> {
    let half = Bytes::copy_from_slice(&body[..body.len() / 2]);
    let frames = stream::iter([Ok(Frame::data(half)), Err(io::Error::other("cut"))]);
    let mut response = json_response(200, StreamBody::new(frames).boxed_unsync());
    response.headers_mut().insert("content-length", body.len().into());
    response
}
