//! Output of the demo, in 80 columns.

use std::{cell::RefCell, time::Duration};

use console::{measure_text_width, style};
use indicatif::{ProgressBar, ProgressStyle};

use super::{super::print::line, ground::Ground, receiver::Hook, story::Shop};

const COLUMNS: usize = 80;
const LABEL: usize = 13;

/// The terminal. Between two lines a spinner shows what the demo waits for.
#[derive(Default)]
pub(super) struct Screen {
    spinner: RefCell<Option<ProgressBar>>,
}

impl Screen {
    pub(super) fn title(&self, ground: &Ground) {
        line("");
        line(format!(
            "  {}  one payment, from the order to the verified webhook",
            style(concat!("Kassa ", env!("CARGO_PKG_VERSION"))).bold()
        ));
        let chain = if ground.is_local() {
            "  All of it is real but the chain: a local one, read by the plugin as the real one is."
        } else {
            "  All of it is real but the chain, which a plugin in its sandbox simulates."
        };
        line(style(chain).dim());
        line(style("  Times run from what caused a step to when it was seen.").dim());
        line("");
    }

    /// Shows the present step.
    pub(super) fn begin(&self, label: &str, doing: &str) {
        self.clear();
        let spinner = ProgressBar::new_spinner();
        if let Ok(style) = ProgressStyle::with_template("  {spinner:.cyan} {msg}") {
            spinner.set_style(style);
        }
        spinner.set_message(format!("{label:<LABEL$} {doing} …"));
        spinner.enable_steady_tick(Duration::from_millis(80));
        self.spinner.replace(Some(spinner));
    }

    /// Shows a step that was seen, and its time since its cause.
    pub(super) fn seen(&self, label: &str, text: &str, took_so_long: Duration) {
        self.clear();
        let left = format!("  {} {} {text}", style("✓").green(), style(format!("{label:<LABEL$}")).bold());
        let took = took(took_so_long);
        let gap = COLUMNS.saturating_sub(measure_text_width(&left) + took.len()).max(1);
        line(format!("{left}{}{}", " ".repeat(gap), style(took).dim()));
    }

    /// Shows more about the step above.
    pub(super) fn more(&self, text: &str) {
        self.clear();
        line(format!("    {:<LABEL$} {text}", ""));
    }

    pub(super) fn missing(&self, label: &str, text: &str) {
        self.clear();
        line(format!("  {} {} {text}", style("✗").red(), style(format!("{label:<LABEL$}")).bold()));
    }

    pub(super) fn all_seen(&self, took_in_all: Duration) {
        line("");
        line(format!(
            "  {} in {}, the start of the server included.",
            style("All of it was seen").green(),
            took(took_in_all)
        ));
        line("");
    }

    /// Shows a webhook that came while the reader was trying things.
    pub(super) fn hook(&self, hook: &Hook) {
        let verdict = match hook.verified {
            Ok(()) => style("signature verified".to_owned()).green(),
            Err(why) => style(why.to_string()).red(),
        };
        line(format!("  {} {:<18} {}  {verdict}", style("●").cyan(), hook.kind, hook.invoice_id));
    }

    fn clear(&self) {
        if let Some(spinner) = self.spinner.take() {
            spinner.finish_and_clear();
        }
    }

    /// Shows what the reader can do now. Each command works as it stands, in any POSIX shell.
    pub(super) fn your_turn(&self, url: &str, ground: &Ground, shop: &Shop) {
        let head = |text: &str| line(format!("  {}", style(text).bold()));
        let Shop { key, address, .. } = shop;
        line("");
        head("Your turn: an invoice of your own. In another terminal:");
        line("");
        line(format!("KASSA={url}"));
        line(format!("KEY='X-API-Key: {key}'"));
        line("JSON='Content-Type: application/json'");
        line("");
        line(style("# 1. Ask for 4.20 dollars. The answer says what to pay, to the last digit.").dim());
        line("INVOICE=$(curl -s $KASSA/v1/invoices -H \"$KEY\" -H \"$JSON\" -d '{");
        line(format!("  \"title\": \"Coffee\", \"payable_network\": \"{}\",", ground.network.name));
        line(format!(
            "  \"payable_asset\": \"{}\", \"amount\": \"4.20\"}}'); echo \"$INVOICE\"",
            ground.asset.symbol
        ));
        line("");
        line(style("# 2. Pay just that, and mine more blocks: it is credited when it is deep enough.").dim());
        for command in ground.commands(address) {
            line(command);
        }
        line("");
        line(style("# 3. A moment later its status is `paid`. Its webhooks show up here below.").dim());
        line("ID=$(echo \"$INVOICE\" | sed 's/.*\"id\":\"\\(inv_[0-9A-Z]*\\)\".*/\\1/')");
        line("sleep 1; curl -s $KASSA/v1/invoices/$ID -H \"$KEY\"; echo");
        line("");
        line(format!("  All that the API can do: {url}/docs     Ctrl-C ends the demo."));
        line("");
    }
}

fn took(time: Duration) -> String {
    if time < Duration::from_secs(10) {
        format!("{} ms", time.as_millis())
    } else {
        format!("{} s", time.as_secs())
    }
}
