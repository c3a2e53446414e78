//! What every chain plugin must do, whatever the chain: each folder of `chain-plugins` is put through the same
//! cases on its local chain.
//!
//! The cast:
//! - [`stage`]: a server, a merchant and the network of the folder's first manifest, as it is shipped but for its
//!   name, its upstreams and its haste;
//! - [`chain`]: the local chain below. `tests/node/chains/<folder>.mjs` speaks the chain's own API to the plugin and
//!   the same control calls for all chains to the suite; the sandbox is a chain inside of its plugin and is told
//!   through Kassa's API;
//! - the cases: [`payments`], [`reorgs`], [`upstreams`], [`again`], [`ownership`], [`malformed`].
//!
//! The other manifests of a folder are other networks of the same chain: each is paid on in all its assets.
//!
//! What only some chains have is beside them: [`ton_proofs`], [`tron_ends`], [`inside`]; what each main network costs, in
//! [`days`].
//!
//! A folder without a local chain fails, so that none is passed over. Upstreams are a matter of chains that have
//! some: the sandbox has none, and its outages stand for them.

mod again;
mod agreed;
mod chain;
mod days;
mod inside;
mod malformed;
mod ownership;
mod payments;
mod reorgs;
mod stage;
mod ton_proofs;
mod tron_ends;
mod upstreams;

use std::{fs, path::PathBuf};

use kassa_tests::{Facade, Kind, Suite, tests_folder};

use self::stage::Stage;

/// The folder whose chain is inside of the plugin.
const SANDBOX: &str = "sandbox";

pub(crate) fn cases(suite: &mut Suite) {
    suite.once("conformance::every_plugin_is_found", || async { every_plugin_is_found() });
    ton_proofs::cases(suite);
    tron_ends::cases(suite);
    inside::cases(suite);
    days::cases(suite);
    suite.both(
        "conformance::ton::again_every_transaction_of_a_payment_finds_it",
        again::every_transaction_of_a_payment_finds_it,
    );
    for folder in folders() {
        // For the life of the process: cases are closures without an end.
        let folder: &'static str = folder.leak();
        macro_rules! case {
            ($module:ident::$name:ident) => {
                let name = concat!(stringify!($module), "_", stringify!($name));
                suite.both(&format!("conformance::{folder}::{name}"), move |database| async move {
                    $module::$name(Stage::start(database, folder).await).await;
                });
            };
        }
        case!(payments::every_listed_asset_pays);
        case!(payments::two_equal_ones_at_once_are_two);
        case!(payments::a_customers_address_takes_all_that_comes);
        case!(payments::what_only_looks_like_a_payment_is_none);
        case!(payments::nothing_is_listed_and_pays_nothing);
        case!(payments::what_failed_pays_nothing);
        case!(payments::what_goes_to_itself_pays_nothing);
        case!(payments::what_is_matched_must_be_safe);
        case!(payments::an_invoices_own_address_pays);
        case!(payments::a_hundred_customers_are_watched);
        case!(ownership::nonsense_proves_nothing);
        case!(reorgs::what_was_taken_back_is_taken_back_once);
        case!(again::what_is_read_again_is_credited_once);
        case!(again::a_hash_finds_what_was_paid);
        case!(upstreams::downtime_is_caught_up);
        case!(upstreams::faults_cost_time_alone);
        for manifest in stage::manifests(folder).into_iter().skip(1) {
            let name = format!("conformance::{folder}::{}_pays", manifest["name"].as_str().expect("a name"));
            suite.on(Kind::Sqlite, &name, move |database| async move {
                payments::every_listed_asset_pays(Stage::on(database, folder, manifest).await).await;
            });
        }
        if folder != SANDBOX {
            // On a chain that nobody watches yet.
            macro_rules! first {
                ($name:ident) => {
                    let name = format!("conformance::{folder}::again_{}", stringify!($name));
                    suite.both(&name, move |database| async move { again::$name(database, folder).await });
                };
            }
            first!(a_first_read_comes_before_the_first_invoice);
            first!(what_came_before_the_first_read_is_found);
            case!(upstreams::a_stale_backend_loses_nothing);
            case!(upstreams::torn_and_doubled_pages_lose_nothing);
            case!(upstreams::limits_are_kept_to);
            case!(upstreams::who_asks_for_less_is_obeyed);
            suite.both(
                &format!("conformance::{folder}::upstreams_two_providers_agree"),
                move |database| async move { agreed::two_providers_agree(database, folder).await },
            );
            suite.on(
                Kind::Sqlite,
                &format!("conformance::{folder}::upstreams_a_part_is_enough"),
                move |database| async move {
                    upstreams::a_part_is_enough(Stage::start(database, folder).await).await;
                },
            );
            case!(upstreams::another_chain_is_not_believed);
            suite.once(&format!("conformance::{folder}::malformed_at_every_field"), move || {
                malformed::at_every_field(folder, stage::manifests(folder).remove(0), None)
            });
        }
    }
}

/// The folders of `chain-plugins` that hold a crate, sorted.
fn folders() -> Vec<String> {
    let mut found: Vec<String> = fs::read_dir(plugins())
        .expect("chain-plugins")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.join("Cargo.toml").is_file())
        .map(|path| path.file_name().expect("a name").to_string_lossy().into_owned())
        .collect();
    found.sort();
    found
}

fn plugins() -> PathBuf {
    tests_folder().parent().expect("the repository").join("chain-plugins")
}

fn every_plugin_is_found() {
    let found = folders();
    for known in ["evm", "sandbox", "ton", "tron"] {
        assert!(found.iter().any(|folder| folder == known), "{known} is not in {found:?}");
    }
    for folder in found.iter().filter(|folder| *folder != SANDBOX) {
        let program = Facade::program(folder);
        assert!(
            program.is_file(),
            "{folder} has no local chain: {} (see the README there)",
            program.display()
        );
    }
}
