//! What is locked, compared with what RustSec has published: without a network, from `tests/advisories.toml`, which
//! `tests/renew-advisories` writes. What is known to be vulnerable is not built, unless deny.toml says why it may be.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
    time::UNIX_EPOCH,
};

use kassa_tests::{Suite, tests_folder};
use semver::{Version, VersionReq};
use toml::{Table, Value};

const LOCKS: &[&str] = &["Cargo.lock", "tests/fuzz/Cargo.lock"];

pub(crate) fn cases(suite: &mut Suite) {
    suite.once("advisories::nothing_locked_is_known_to_be_vulnerable", || async { locked() });
    suite.once("advisories::the_data_is_whole", || async { whole() });
    suite.once("advisories::what_is_vulnerable_is_named", || async { named() });
    suite.once("advisories::exceptions_have_a_reason_and_an_end", || async { exceptions() });
    suite.once("advisories::ranges_are_read_as_rustsec_means_them", || async { ranges() });
    suite.once("advisories::they_are_renewed_from_a_clone", || async { renewed() });
}

struct Advisory {
    id: String,
    package: String,
    date: String,
    /// RustSec's word where nothing can be exploited as it is: "unmaintained", "notice", or "unsound", which counts.
    kind: Option<String>,
    patched: Vec<VersionReq>,
    unaffected: Vec<VersionReq>,
}

impl Advisory {
    fn concerns(&self, version: &Version) -> bool {
        matches!(self.kind.as_deref(), None | Some("unsound"))
            && !self.patched.iter().chain(&self.unaffected).any(|range| lies_in(version, range))
    }
}

/// What has been published, and about whom that was asked.
struct Published {
    head: Table,
    crates: BTreeSet<String>,
    advisories: Vec<Advisory>,
}

fn repository() -> PathBuf {
    tests_folder().parent().expect("the repository").to_owned()
}

fn text<'a>(table: &'a Table, key: &str) -> &'a str {
    table.get(key).and_then(Value::as_str).unwrap_or_else(|| panic!("no {key} in {table}"))
}

fn array<'a>(table: &'a Table, key: &str) -> &'a [Value] {
    table.get(key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn published(toml: &str) -> Published {
    let head: Table = toml.parse().expect("TOML");
    let ranges = |row: &Table, key: &str| -> Vec<VersionReq> {
        let ranges = array(row, key).iter().map(|range| range.as_str().expect("a range").parse());
        ranges.collect::<Result<_, _>>().unwrap_or_else(|why| panic!("{why} in {row}"))
    };
    let advisories = array(&head, "advisories").iter().map(|row| {
        let row = row.as_table().expect("an advisory");
        Advisory {
            id: text(row, "id").to_owned(),
            package: text(row, "package").to_owned(),
            date: text(row, "date").to_owned(),
            kind: row.get("kind").and_then(Value::as_str).map(Into::into),
            patched: ranges(row, "patched"),
            unaffected: ranges(row, "unaffected"),
        }
    });
    let (crates, advisories) =
        (text(&head, "crates").split_whitespace().map(Into::into), advisories.collect());
    Published { crates: crates.collect(), advisories, head }
}

/// The packages of a lock file that come from a registry.
fn packages(lock: &str) -> Vec<(String, Version)> {
    let lock: Table = lock.parse().expect("TOML");
    let packages = array(&lock, "package").iter().filter_map(Value::as_table);
    let foreign = packages.filter(|package| package.contains_key("source"));
    foreign
        .map(|package| {
            (text(package, "name").to_owned(), text(package, "version").parse().expect("a version"))
        })
        .collect()
}

/// The advisories that deny.toml makes an exception of, with their reasons.
fn excepted(deny: &str) -> BTreeMap<String, String> {
    let deny: Table = deny.parse().expect("TOML");
    let ignored = array(deny["advisories"].as_table().expect("a table"), "ignore");
    let read = |entry: &Value| match entry {
        Value::String(id) => (id.clone(), String::new()),
        Value::Table(entry) => {
            let reason = entry.get("reason").and_then(Value::as_str).unwrap_or_default();
            (text(entry, "id").to_owned(), reason.to_owned())
        }
        other => panic!("{other} is no exception"),
    };
    ignored.iter().map(read).collect()
}

/// Whether RustSec means this version: semver's own reading puts a pre-release into no range that does not name one of
/// the same release; in RustSec's it stands where it comes in the order. Right beside a bound it is taken for outside.
fn lies_in(version: &Version, range: &VersionReq) -> bool {
    let release = Version::new(version.major, version.minor, version.patch);
    let beside_bound = range.comparators.iter().any(|bound| {
        (bound.major, bound.minor.unwrap_or(0), bound.patch.unwrap_or(0))
            == (release.major, release.minor, release.patch)
    });
    range.matches(version) || !beside_bound && range.matches(&release)
}

/// What is wrong, a line each.
fn compare(
    packages: &[(String, Version)],
    published: &Published,
    excepted: &BTreeMap<String, String>,
) -> Vec<String> {
    let (mut wrong, mut used) = (BTreeSet::new(), BTreeSet::new());
    for (name, version) in packages {
        if !published.crates.contains(name) {
            wrong.insert(format!(
                "{name} {version}: nobody has asked for its advisories (tests/renew-advisories)"
            ));
        }
        let own = published.advisories.iter().filter(|advisory| advisory.package == *name);
        for advisory in own.filter(|advisory| advisory.concerns(version)) {
            let patched: Vec<String> = advisory.patched.iter().map(ToString::to_string).collect();
            let patched = if patched.is_empty() { "nothing".to_owned() } else { patched.join(" or ") };
            used.insert(&advisory.id);
            if excepted.get(&advisory.id).is_none_or(String::is_empty) {
                wrong
                    .insert(format!("{}: {name} {version} is vulnerable; patched is {patched}", advisory.id));
            }
        }
    }
    for (id, reason) in excepted {
        if reason.is_empty() {
            wrong.insert(format!("{id}: the exception in deny.toml has no reason"));
        }
        if !used.contains(id) {
            wrong.insert(format!("{id}: the exception in deny.toml is needed no longer"));
        }
    }
    wrong.into_iter().collect()
}

/// Since 1970, of a day as in 2026-10-09.
fn days(date: &str) -> i64 {
    let parts: Vec<i64> = date.split('-').map(|part| part.parse().expect("a date")).collect();
    let [year, month, day] = parts[..] else { panic!("{date} is no date") };
    // The year begins in March, so that the leap day is its last.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day - 719_469
}

fn read(path: &str) -> String {
    fs::read_to_string(repository().join(path)).unwrap_or_else(|why| panic!("{path}: {why}"))
}

fn locked() {
    let published = published(&read("tests/advisories.toml"));
    // How old it may be is for the reader to judge: a commit that was green stays green.
    let today = UNIX_EPOCH.elapsed().expect("after 1970").as_secs() / 86_400;
    let as_of = text(&published.head, "as_of");
    let age = i64::try_from(today).expect("days") - days(as_of);
    println!("RustSec's advisories are those of {as_of}, {age} days ago (tests/renew-advisories)");
    let packages: Vec<(String, Version)> = LOCKS.iter().flat_map(|lock| packages(&read(lock))).collect();
    assert!(packages.len() > 400, "{} packages", packages.len());
    let wrong = compare(&packages, &published, &excepted(&read("deny.toml")));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn whole() {
    let Published { head, crates, advisories } = published(&read("tests/advisories.toml"));
    let of = |name: &str| advisories.iter().filter(|advisory| advisory.package == name).count();
    assert!(advisories.len() >= 100 && of("wasmtime") >= 40, "{} advisories", advisories.len());
    let ids: BTreeSet<&str> = advisories.iter().map(|advisory| advisory.id.as_str()).collect();
    assert_eq!(ids.len(), advisories.len(), "an advisory stands there twice");
    for Advisory { id, package, date, kind, .. } in &advisories {
        let parts: Vec<&str> = id.split('-').collect();
        let number = |part: &str| part.len() == 4 && part.bytes().all(|sign| sign.is_ascii_digit());
        let formed =
            matches!(parts[..], ["RUSTSEC", year, count] if number(year) && number(count) && year > "2015");
        assert!(formed, "{id} is no number of an advisory");
        assert!(crates.contains(package), "{id} is about {package}, which is not locked");
        assert!(days(date) > days("2016-01-01"), "{id} is of {date}");
        let known = matches!(kind.as_deref(), None | Some("unmaintained" | "notice" | "unsound"));
        assert!(known, "{id} is of an unknown kind: {kind:?}");
    }
    let newest = advisories.iter().map(|advisory| advisory.date.as_str()).max();
    assert_eq!(newest, Some(text(&head, "newest")));
    let dates = ["newest", "as_of", "taken"].map(|key| days(text(&head, key)));
    assert!(dates.is_sorted(), "newest, as_of and taken come one after the other: {dates:?}");
}

/// Three made-up advisories.
const MADE_UP: &str = r#"
crates = "alpha beta"
advisories = [
    { id = "RUSTSEC-2026-9001", package = "alpha", date = "2026-01-01", patched = [">= 1.2.3, < 2.0.0", ">= 2.1.0"], unaffected = ["< 1.0.0"] },
    { id = "RUSTSEC-2026-9002", package = "alpha", date = "2026-01-01", kind = "unmaintained", patched = [] },
    { id = "RUSTSEC-2026-9003", package = "beta", date = "2026-01-01", kind = "unsound", patched = [] },
]
"#;

fn judged(name: &str, version: &str, ignore: &str) -> Vec<String> {
    let lock = format!("[[package]]\nname = \"{name}\"\nversion = \"{version}\"\nsource = \"registry\"\n");
    let excepted = excepted(&format!("[advisories]\nignore = [{ignore}]\n"));
    compare(&packages(&lock), &published(MADE_UP), &excepted)
}

fn named() {
    for well in ["0.9.9", "1.2.3", "1.9.0+build.1", "2.1.0", "3.0.0"] {
        assert_eq!(judged("alpha", well, ""), [""; 0], "{well}");
    }
    let vulnerable = "RUSTSEC-2026-9001: alpha 2.0.5 is vulnerable; patched is >=1.2.3, <2.0.0 or >=2.1.0";
    assert_eq!(judged("alpha", "2.0.5", ""), [vulnerable]);
    assert_eq!(
        judged("beta", "1.0.0", ""),
        ["RUSTSEC-2026-9003: beta 1.0.0 is vulnerable; patched is nothing"]
    );
    let unknown = "gamma 1.0.0: nobody has asked for its advisories (tests/renew-advisories)";
    assert_eq!(judged("gamma", "1.0.0", ""), [unknown]);
    assert!(packages("[[package]]\nname = \"kassa\"\nversion = \"0.1.0\"\n").is_empty(), "our own");
}

fn exceptions() {
    let reasoned = r#"{ id = "RUSTSEC-2026-9003", reason = "it is not called" }"#;
    assert_eq!(judged("beta", "1.0.0", reasoned), [""; 0]);
    let over = "RUSTSEC-2026-9003: the exception in deny.toml is needed no longer";
    assert_eq!(judged("alpha", "1.2.3", reasoned), [over]);
    for bare in [r#""RUSTSEC-2026-9003""#, r#"{ id = "RUSTSEC-2026-9003" }"#] {
        let why = "RUSTSEC-2026-9003: the exception in deny.toml has no reason";
        assert!(judged("beta", "1.0.0", bare).contains(&why.to_owned()), "{bare}");
    }
}

fn ranges() {
    for (range, inside, outside) in [
        (">= 1.2, < 2.0.0", "1.9.9", "2.0.0"),
        ("< 0.10.0, >= 0.9.18", "0.9.20", "0.10.1"),
        ("^ 0.3.1", "0.3.9", "0.4.0"),
        ("0.13.10", "0.13.11", "0.14.0"),
        ("=0.2.6", "0.2.6", "0.2.7"),
        ("< 0.23", "0.22.9", "0.23.0"),
        // Pre-releases come before their release, and after all that is before it.
        (">= 1.2", "2.0.0-rc.1", "1.2.0-rc.1"),
        (">= 0.104.0-alpha.6", "0.104.0-alpha.7", "0.104.0-alpha.5"),
        (">= 0.103.12, < 0.104.0-alpha.1", "0.103.13-rc.1", "0.104.0-alpha.1"),
    ] {
        let lies =
            |version: &str| lies_in(&version.parse().expect("a version"), &range.parse().expect("a range"));
        assert!(lies(inside) && !lies(outside), "{range}");
    }
    assert_eq!(days("1970-01-01"), 0);
    assert_eq!(days("2024-03-01") - days("2024-02-28"), 2);
}

fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    fs::write(path, text).expect("a file");
}

/// The script in a project of its own, on a database of three advisories; `git` says of when that is.
fn renewed() {
    let folder = tempfile::tempdir().expect("a folder");
    let (project, clone) = (folder.path().join("project"), folder.path().join("clone"));
    let package =
        |name: &str| format!("[[package]]\nname = \"{name}\"\nversion = \"1.0.0\"\nsource = \"registry\"\n");
    write(
        &project.join("Cargo.lock"),
        &(package("alpha") + "[[package]]\nname = \"own\"\nversion = \"0.1.0\"\n"),
    );
    write(&project.join("tests/fuzz/Cargo.lock"), &package("beta"));
    write(&project.join("tests/renew-advisories"), include_str!("../renew-advisories"));
    for (name, id, more) in [
        (
            "alpha",
            "RUSTSEC-2026-0001",
            "informational = \"unsound\"\n[versions]\npatched = [\n    \">= 2\", # two\n]\n",
        ),
        ("alpha", "RUSTSEC-2026-0002", "withdrawn = \"2026-02-02\"\n[versions]\npatched = []\n"),
        ("own", "RUSTSEC-2026-0003", "[versions]\npatched = []\n"),
    ] {
        let front = format!("[advisory]\nid = \"{id}\"\npackage = \"{name}\"\ndate = \"2026-01-31\"\n{more}");
        let path = clone.join("crates").join(name).join(id).with_extension("md");
        write(&path, &format!("```toml\n{front}```\n\n# Title\n\n```toml\nnot = ours\n```\n"));
    }
    let git = folder.path().join("bin/git");
    write(&git, "#!/bin/sh\necho 2026-02-03\n");
    fs::set_permissions(&git, fs::Permissions::from_mode(0o755)).expect("an executable");
    let path =
        format!("{}:{}", folder.path().join("bin").display(), std::env::var("PATH").unwrap_or_default());
    let mut command = Command::new("python3");
    let output = command.arg(project.join("tests/renew-advisories")).arg(&clone).env("PATH", path).output();
    let output = output.expect("python3");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let written = fs::read_to_string(project.join("tests/advisories.toml")).expect("the data");
    let Published { head, crates, advisories } = published(&written);
    assert_eq!((text(&head, "as_of"), text(&head, "newest")), ("2026-02-03", "2026-01-31"));
    assert_eq!(Vec::from_iter(crates), ["alpha", "beta"]);
    let [Advisory { id, package, date, kind, patched, unaffected }] = &advisories[..] else {
        panic!("{} advisories", advisories.len())
    };
    assert_eq!([id, package, date], ["RUSTSEC-2026-0001", "alpha", "2026-01-31"]);
    assert_eq!(kind.as_deref(), Some("unsound"));
    assert!(patched[..] == [">= 2".parse().expect("a range")] && unaffected.is_empty());
}
