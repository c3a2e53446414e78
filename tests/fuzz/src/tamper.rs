//! What a bad upstream does to its answers, as the input says: other bytes, other statuses, an earlier
//! answer again, and JSON with fields changed, removed, doubled or taken from elsewhere.

use crate::input::Input;
use serde_json::{Value, json};
use std::collections::VecDeque;

/// Requests of one scan: far above what a chain of a few blocks takes, so a scan does not go on for ever.
const REQUESTS_MAX: usize = 4_000;

pub struct Tamper {
    /// Answers to come whole, in the input's raw mode.
    raw: VecDeque<Vec<u8>>,
    /// Scalars of earlier answers, to be put into later ones.
    seen: Vec<Value>,
    before: Vec<u8>,
    requests: usize,
}

impl Tamper {
    /// In raw mode an answer is on each line; an empty line is the node's own, and a line may begin with its
    /// status in three digits and a space.
    pub fn new(raw: Option<&[u8]>) -> Self {
        let raw =
            raw.into_iter().flat_map(|raw| raw.split(|byte| *byte == b'\n')).map(<[u8]>::to_vec).collect();
        Self { raw, seen: Vec::new(), before: Vec::new(), requests: 0 }
    }

    /// A new scan may ask anew.
    pub fn begin(&mut self) {
        self.requests = 0;
    }

    /// False: the host's budget is used up.
    pub fn answer(&mut self, input: &mut Input<'_>, status: &mut u16, body: &mut Vec<u8>) -> bool {
        self.requests += 1;
        assert!(self.requests <= REQUESTS_MAX, "a scan without end");
        if let Some(line) = self.raw.pop_front() {
            if !line.is_empty() {
                *body = line;
            }
            let digits = body.get(..4).filter(|start| start[3] == b' ');
            let digits = digits.and_then(|start| std::str::from_utf8(&start[..3]).ok());
            if let Some(told) = digits.and_then(|digits| digits.parse().ok()) {
                *status = told;
                body.drain(..4);
            }
            return true;
        }
        let own = body.clone();
        // Most answers are left alone, or no scan would get far.
        let what = input.byte();
        match what {
            0x80..=0x87 => *body = input.number_of_bytes(),
            0x88..=0x8f => *status = [429, 413, 500, 404, 403, 204, 301, 0][usize::from(what & 7)],
            0x90..=0x93 => body.truncate(input.number() % (body.len() + 1)),
            0x94..=0x97 => {
                let offset = input.number() % (body.len() + 1);
                body.splice(offset..offset, input.number_of_bytes());
            }
            0x98 => return false,
            0x99..=0x9b => body.clone_from(&self.before),
            0xa0..=0xff => self.edit(input, body, usize::from(what & 7) + 1),
            _ => {}
        }
        self.before = own;
        true
    }

    fn edit(&mut self, input: &mut Input<'_>, body: &mut Vec<u8>, times: usize) {
        let Ok(mut answer) = serde_json::from_slice::<Value>(body) else { return };
        for _ in 0..times {
            let count = count(&answer);
            let mut index = input.number() % count;
            if let Some(value) = nth(&mut answer, &mut index) {
                self.change(input, value);
            }
        }
        *body = answer.to_string().into_bytes();
    }

    fn change(&mut self, input: &mut Input<'_>, value: &mut Value) {
        let what = input.byte();
        match (what % 16, &mut *value) {
            (0, _) => *value = Value::Null,
            (1, _) => *value = json!(input.number() % 2 == 0),
            (2, _) => *value = json!(input.number()),
            (3, _) => *value = json!(u64::from_be_bytes(input.array())),
            (4, _) => *value = json!(String::from_utf8_lossy(&input.number_of_bytes())),
            (5, _) => self.keep(value),
            (6 | 7, _) if !self.seen.is_empty() => {
                *value = self.seen[input.number() % self.seen.len()].clone();
            }
            (8.., Value::Number(number)) => {
                let near = number.as_i64().unwrap_or(0).wrapping_add(i64::from(input.byte() as i8));
                *value = json!(near);
            }
            (8.., Value::String(text)) => change_text(input, text),
            (8.., Value::Array(list)) if !list.is_empty() => {
                let (one, other) = (input.number() % list.len(), input.number() % list.len());
                match what % 4 {
                    0 => drop(list.remove(one)),
                    1 => list.swap(one, other),
                    2 => list.push(list[one].clone()),
                    _ => list[one] = list[other].clone(),
                }
            }
            (8.., Value::Object(fields)) if !fields.is_empty() => {
                let name = fields.keys().nth(input.number() % fields.len()).cloned().unwrap_or_default();
                fields.remove(&name);
            }
            _ => {}
        }
    }

    fn keep(&mut self, value: &Value) {
        if self.seen.len() < 64 {
            self.seen.push(value.clone());
        }
    }
}

impl Input<'_> {
    fn number_of_bytes(&mut self) -> Vec<u8> {
        let len = self.number();
        self.bytes(len).to_vec()
    }
}

/// Digits become others, the text gets longer or shorter, or is another number.
fn change_text(input: &mut Input<'_>, text: &mut String) {
    let mut chars: Vec<char> = text.chars().collect();
    let index = input.number() % (chars.len() + 1);
    let char = char::from(input.byte());
    match input.byte() % 4 {
        0 if index < chars.len() => chars[index] = char,
        1 => chars.insert(index, char),
        2 => chars.truncate(index),
        _ => chars.extend(chars.clone()),
    }
    *text = chars.into_iter().collect();
}

fn count(value: &Value) -> usize {
    1 + match value {
        Value::Array(list) => list.iter().map(count).sum(),
        Value::Object(fields) => fields.values().map(count).sum(),
        _ => 0,
    }
}

/// The value at an index, counted through the whole tree.
fn nth<'a>(value: &'a mut Value, index: &mut usize) -> Option<&'a mut Value> {
    if *index == 0 {
        return Some(value);
    }
    *index -= 1;
    match value {
        Value::Array(list) => list.iter_mut().find_map(|value| nth(value, index)),
        Value::Object(fields) => fields.values_mut().find_map(|value| nth(value, index)),
        _ => None,
    }
}
