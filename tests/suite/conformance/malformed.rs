//! Every field of every answer of an upstream, replaced by every kind of nonsense: the plugin says what is wrong, or
//! reads on where the field does not matter to it, and never breaks.
//!
//! `kassa plugin try --repeat` does the same step again and again through a proxy that changes one field of one answer
//! each time, until all were changed.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    sync::{Arc, Mutex},
};

use kassa_tests::{Api, Change, Facade, Fault, Kassa, Proxy, Rule, text};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::chain::{Chain, Pay, prepare};

/// Steps of one run of the command.
const STEPS: u32 = 200;
/// Runs after which the sweep does not end.
const RUNS_MAX: u32 = 60;
/// So many answers of other kinds in a row, and the kind that is changed is taken not to come any more.
const MISSES_MAX: u32 = 30;
/// Stands where the nonsense is to be put.
const HOLE: &str = "a hole";

/// On the network of a manifest. `proofs` are where its upstream is and which answers alone are changed; none: at
/// the local chain's root, and all of them.
pub(super) async fn at_every_field(
    folder: &str,
    manifest: Value,
    proofs: Option<(&'static str, &'static str)>,
) {
    let (path, only) = proofs.unzip();
    let path = path.unwrap_or_default();
    let scratch = TempDir::with_prefix("kassa-malformed-").expect("a temp folder");
    let assets = manifest["asset"].as_array().expect("assets");
    let facade = Facade::start(folder, &text(&manifest["caip2"])).await;
    let to = prepare(&facade, assets).await.remove(0);
    let chain = Chain::Facade(facade);
    let nobody = Api::new(chain.facade().url(), "");
    let (head, hash) = chain.head(&nobody).await;
    // One token and the coin: the fields are the same for all.
    let is_token = |asset: &&Value| asset["contract"].is_string();
    let paid = [assets.iter().find(is_token), assets.iter().find(|asset| !is_token(asset))];
    for asset in paid.into_iter().flatten() {
        let units = 10_u128.pow(u32::try_from(asset["decimals"].as_u64().expect("decimals")).expect("few"));
        let asset = asset["contract"].as_str();
        chain.pay(&nobody, Pay { to: &to, asset, units, memo: Some("order-17"), times: 1 }).await;
    }
    chain.mine(&nobody, 1).await;

    let proxy = Proxy::start(chain.facade().url()).await;
    proxy.remember();
    let file = scratch.path().join("network.toml");
    fs::write(&file, toml::to_string(&manifest).expect("TOML")).expect("a manifest");
    let from = format!("{head}:{hash}");
    let run = async |times: u32| {
        let mut command = tokio::process::Command::from(Kassa::command("plugin"));
        command.arg("try").arg(&file).args([
            "--upstream",
            &format!("{}{path}", proxy.url()),
            "--watch",
            &to,
            "--from",
            &from,
        ]);
        command.args(["--repeat", &times.to_string(), "--json"]).kill_on_drop(true);
        let output = command.output().await.expect("kassa plugin try");
        let lines: Vec<Value> = output
            .stdout
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
            .map(|line| serde_json::from_slice(line).expect("a line of JSON"))
            .collect();
        let expected = usize::try_from(times).unwrap();
        assert_eq!(lines.len(), expected, "{}", String::from_utf8_lossy(&output.stderr));
        lines
    };
    let clean = run(1).await.remove(0);
    let found = clean["transfers"].as_array().map_or(0, Vec::len);
    assert_eq!(found, 2, "what is there is found: {clean}");

    let sweep = Arc::new(Mutex::new(Sweep::default()));
    let change = {
        let sweep = sweep.clone();
        Change::new(move |asked, answer| sweep.lock().unwrap().spoil(asked, answer))
    };
    let rule = Rule::new(Fault::Changed(change));
    proxy.add(match only {
        Some(only) => rule.on(only),
        None => rule,
    });
    let mut outcomes: BTreeMap<String, u32> = BTreeMap::new();
    for runs in 1.. {
        for line in run(STEPS).await {
            let outcome = line["error"].as_str().unwrap_or("read on");
            assert!(line.get("broke").is_none() && line.get("contrary").is_none(), "{line}");
            *outcomes.entry(outcome.to_owned()).or_default() += 1;
        }
        if sweep.lock().unwrap().passed_since_change > u64::from(MISSES_MAX) * 3 {
            break;
        }
        assert!(runs < RUNS_MAX, "the sweep does not end: {:?}", sweep.lock().unwrap());
    }
    proxy.clear();
    assert_eq!(run(1).await.remove(0), clean);
    let sweep = sweep.lock().unwrap();
    println!(
        "  conformance: {folder}: {} changes of {:?} came to {outcomes:?}",
        sweep.tried.len(),
        sweep.fields
    );
    assert!(sweep.tried.len() > 100, "{sweep:?}");
    assert!(outcomes.contains_key("malformed"), "{outcomes:?}");
}

/// What was changed so far. One kind of answer at a time, so that the others let the step get to it.
#[derive(Debug, Default)]
struct Sweep {
    /// The field, with what was asked before it, and the index in the list of nonsense.
    tried: BTreeSet<(String, usize)>,
    /// How many fields each kind of answer has.
    fields: BTreeMap<String, usize>,
    /// The kind of answer that is changed at present.
    current: Option<String>,
    misses: u32,
    passed_since_change: u64,
}

impl Sweep {
    fn spoil(&mut self, asked: &str, answer: Value) -> Option<Vec<u8>> {
        let spoiled = self.next(asked, answer);
        self.passed_since_change = if spoiled.is_some() { 0 } else { self.passed_since_change + 1 };
        spoiled
    }

    fn next(&mut self, asked: &str, answer: Value) -> Option<Vec<u8>> {
        if self.current.as_deref().is_some_and(|current| current != asked) {
            self.misses += 1;
            if self.misses < MISSES_MAX {
                return None;
            }
        }
        self.misses = 0;
        self.current = None;
        let mut fields = BTreeMap::new();
        list_fields(&answer, asked, "", &mut fields);
        self.fields.insert(asked.to_owned(), fields.len());
        for (name, pointer) in fields {
            for (number, nonsense) in nonsense().into_iter().enumerate() {
                if self.tried.insert((name.clone(), number)) {
                    self.current = Some(asked.to_owned());
                    return Some(replaced(answer, &pointer, nonsense.as_deref()));
                }
            }
        }
        None
    }
}

/// All fields of an answer: by name, in which `*` stands for any index of a list, the pointer of one of them.
fn list_fields(value: &Value, name: &str, pointer: &str, found: &mut BTreeMap<String, String>) {
    found.entry(name.to_owned()).or_insert_with(|| pointer.to_owned());
    match value {
        Value::Object(fields) => {
            for (key, inner) in fields {
                // A key that is data, such as an address, is like an index of a list.
                let shown = if key.len() > 40 { "*" } else { key };
                let key = key.replace('~', "~0").replace('/', "~1");
                list_fields(inner, &format!("{name}/{shown}"), &format!("{pointer}/{key}"), found);
            }
        }
        Value::Array(items) => {
            for (number, inner) in items.iter().enumerate() {
                // The answers of a batch are different things, each with the name of what was asked.
                let shown = match (pointer, name.split('+').nth(number)) {
                    ("", Some(asked)) => asked.to_owned(),
                    _ => format!("{name}/*"),
                };
                list_fields(inner, &shown, &format!("{pointer}/{number}"), found);
            }
        }
        _ => {}
    }
}

/// What is put in a field's pointer, as it stands in the body; none: the field is left out.
fn nonsense() -> Vec<Option<Vec<u8>>> {
    let text = |text: &str| Some(text.as_bytes().to_vec());
    let mut all = vec![None, Some(b"\"\xff\xfe\"".to_vec())];
    all.extend(
        [
            "null",
            "true",
            "-1",
            "1.5",
            "18446744073709551616",
            "1e400",
            "[]",
            "{}",
            r#""""#,
            r#""\u0000""#,
            r#""999999999999999999999999999999999999999999""#,
        ]
        .map(text),
    );
    all.push(text(&format!("\"0x{}\"", "f".repeat(70))));
    all.push(text(&format!("\"{}\"", "a".repeat(20_000))));
    all.push(text(&format!("{}{}", "[".repeat(300), "]".repeat(300))));
    all
}

fn replaced(mut answer: Value, pointer: &str, nonsense: Option<&[u8]>) -> Vec<u8> {
    let Some(nonsense) = nonsense else {
        let Some((parent, key)) = pointer.rsplit_once('/') else { return Vec::new() };
        let key = key.replace("~1", "/").replace("~0", "~");
        match answer.pointer_mut(parent) {
            Some(Value::Object(fields)) => drop(fields.remove(&key)),
            Some(Value::Array(items)) => drop(items.remove(key.parse().expect("an index"))),
            _ => panic!("no {parent}"),
        }
        return answer.to_string().into_bytes();
    };
    *answer.pointer_mut(pointer).expect("the field") = json!(HOLE);
    let text = answer.to_string();
    let (before, after) = text.split_once(&format!("\"{HOLE}\"")).expect("the hole");
    [before.as_bytes(), nonsense, after.as_bytes()].concat()
}
