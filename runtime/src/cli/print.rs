//! Output for people: lines, lists, errors; and JSON for programs.

use std::{
    fmt::{Display, Write as _},
    io::{IsTerminal as _, Write as _},
};

use console::{Style, measure_text_width, style};
use serde_json::Value;

use super::{Colors, client::Refused};

/// Decides once whether this process writes colours.
pub(super) fn colors(wanted: Colors) {
    let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
        || std::env::var_os("TERM").is_some_and(|value| value == "dumb");
    let decide = |terminal: bool| match wanted {
        Colors::Always => true,
        Colors::Never => false,
        Colors::Auto => terminal && !plain,
    };
    console::set_colors_enabled(decide(std::io::stdout().is_terminal()));
    console::set_colors_enabled_stderr(decide(std::io::stderr().is_terminal()));
}

/// Prints one line to stdout. A closed reader (`kassa … | head`) is not an error.
pub(super) fn line(text: impl Display) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// Prints one line to stderr.
pub(super) fn note(text: impl Display) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Prints an error with its causes.
pub(super) fn error(error: &anyhow::Error) {
    let head = style("error:").red().bold().for_stderr();
    if let Some(refused) = error.downcast_ref::<Refused>() {
        note(format!("{head} {}", refused.title));
        for text in [&refused.detail, &refused.hint].into_iter().flatten() {
            note(format!("       {text}"));
        }
        note(style(format!("       ({})", refused.about)).dim().for_stderr());
        return;
    }
    // An error often repeats the text of its source: print each once.
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if !text.contains(&cause) {
            let _ = write!(text, "{}{cause}", if text.is_empty() { "" } else { ": " });
        }
    }
    note(format!("{head} {text}"));
}

/// Prints a success.
pub(super) fn done(text: impl Display) {
    line(format!("{} {text}", style("✓").green()));
}

/// Prints JSON for programs: one document, indented.
pub(super) fn json(value: &Value) {
    line(format!("{value:#}"));
}

/// Prints labelled values, one a line. Those without a value are left out.
pub(super) fn fields(fields: &[(&str, Option<String>)]) {
    let width = fields.iter().map(|(label, _)| label.len()).max().unwrap_or(0);
    for (label, value) in fields {
        if let Some(value) = value {
            line(format!("{}  {value}", style(format!("{label:<width$}")).dim()));
        }
    }
}

/// Prints a list, in columns as wide as they need to be.
pub(super) fn table(head: &[&str], rows: &[Vec<String>]) {
    let mut widths: Vec<usize> = head.iter().map(|cell| cell.len()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(measure_text_width(cell));
        }
    }
    let print = |cells: &mut dyn Iterator<Item = &str>, look: &Style| {
        let mut text = String::new();
        for (cell, width) in cells.zip(&widths) {
            let _ = write!(
                text,
                "{}{}  ",
                look.apply_to(cell),
                " ".repeat(width.saturating_sub(measure_text_width(cell)))
            );
        }
        line(text.trim_end());
    };
    print(&mut head.iter().copied(), &Style::new().dim());
    for row in rows {
        print(&mut row.iter().map(String::as_str), &Style::new());
    }
}

/// A field of an answer as text; empty if it is missing or null.
pub(super) fn text(value: &Value, field: &str) -> String {
    match value.get(field) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

/// The same, for [`fields`]; `None` if it is empty.
pub(super) fn some(value: &Value, field: &str) -> Option<String> {
    Some(text(value, field)).filter(|text| !text.is_empty())
}
