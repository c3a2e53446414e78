//! `kassa hook`: a merchant's own components.

pub(in crate::cli) mod build;
mod configure;
pub(in crate::cli) mod new;
mod runs;
mod versions;

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{
    Global,
    client::{Client, ServerArgs},
    print::{self, text},
};

const EXAMPLES: &str = "\
Examples:
  kassa hook new my-hook                       a folder to begin with; --lang js or python
  kassa hook build my-hook                     makes my-hook.wasm of the sources there
  kassa hook upload my-hook.wasm --activate
  kassa hook secret set telegram bot_token @file:token.txt
  kassa hook settings telegram settings.json
  kassa hook storage put license-keys key/1 AAAA-BBBB
  kassa hook runs telegram --state rejected

These ask the server with a merchant's key (live_… or test_…): KASSA_KEY or --key.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct HookArgs {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Begin a hook: a folder with its sources and the SDK; needs no server
    New {
        /// Like license-keys; the folder is called so too
        name: String,
        /// The language to write it in
        #[arg(long, value_enum, default_value_t = new::Language::Rust)]
        lang: new::Language,
    },
    /// Make a component of a folder with a hook in Rust, JavaScript or Python; needs no server
    Build {
        /// Folder with plugin.toml and the sources
        #[arg(default_value = ".")]
        folder: PathBuf,
        /// File to write [default: NAME.wasm in the folder]
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Say whether the server would take a component, and keep nothing
    Validate {
        /// A WebAssembly component
        file: PathBuf,
    },
    /// Upload a component: a version of the hook that its manifest names
    Upload {
        /// A WebAssembly component with its manifest inside
        file: PathBuf,
        /// Make it the version in use at once
        #[arg(long)]
        activate: bool,
    },
    /// List hooks
    List,
    /// Show a hook, its settings, secrets and versions
    Show {
        /// Like license-keys
        hook: String,
    },
    /// Make a version the one in use
    Activate {
        /// Like license-keys
        hook: String,
        /// hkv_… [default: the newest]
        version: Option<String>,
    },
    /// Play past events to a version, and show what it would have done
    Replay {
        /// Like license-keys
        hook: String,
        /// hkv_… [default: the newest]
        version: Option<String>,
        /// Number of newest events
        #[arg(long, default_value_t = 25)]
        limit: u32,
    },
    /// Play every run to another version as well, or show where it differs
    Shadow {
        /// Like license-keys
        hook: String,
        /// hkv_…; without one it shows how the version in the shadow does
        version: Option<String>,
        /// Take the version out of the shadow
        #[arg(long, conflicts_with = "version")]
        off: bool,
    },
    /// Go back to the version that was in use before
    Rollback {
        /// Like license-keys
        hook: String,
    },
    /// Let a hook run, and end a pause
    Enable {
        /// Like license-keys
        hook: String,
    },
    /// Stop a hook; its runs wait
    Disable {
        /// Like license-keys
        hook: String,
    },
    /// Delete a hook with its versions, secrets and storage, or only one version of it
    Delete {
        /// Like license-keys
        hook: String,
        /// hkv_…, one that is not in use
        #[arg(long, value_name = "VERSION")]
        only: Option<String>,
    },
    /// Say what a hook is run for; what is left out does not matter
    Bind(BindArgs),
    /// Show a hook's settings, or set all of them from a JSON file
    Settings {
        /// Like license-keys
        hook: String,
        /// A JSON object; `-` reads stdin
        file: Option<PathBuf>,
    },
    /// Keep secrets for a hook, hidden even from its own code
    #[command(subcommand)]
    Secret(SecretCommand),
    /// Look at a hook's storage, and change it
    #[command(subcommand)]
    Storage(StorageCommand),
    /// List runs, the newest first
    Runs(runs::RunsArgs),
    /// List what a matcher was asked and said, the newest first
    Matches {
        /// Like tolerance
        hook: String,
        /// Number to list
        #[arg(long, default_value_t = 25)]
        limit: u32,
    },
    /// Show a run: its input, its calls, what they said, logged and used
    Run {
        /// run_…
        id: String,
    },
    /// Make a run again that has ended
    Again {
        /// run_…
        id: String,
    },
    /// Show what all hooks take on disk, or what one of them used, day by day
    Usage {
        /// Like license-keys
        hook: Option<String>,
    },
}

#[derive(Debug, Args)]
struct BindArgs {
    /// Like license-keys
    hook: String,
    /// A type of event, like invoice.paid; may be repeated
    #[arg(long, value_name = "TYPE")]
    event: Vec<String>,
    /// A network; may be repeated
    #[arg(long, value_name = "NAME")]
    network: Vec<String>,
    /// An asset's symbol; may be repeated
    #[arg(long, value_name = "SYMBOL")]
    asset: Vec<String>,
    /// A tag of invoices; may be repeated
    #[arg(long, value_name = "TAG")]
    tag: Vec<String>,
    /// Ask a matcher about every transfer, not only where the built-in matching cannot tell
    #[arg(long)]
    match_first: bool,
}

#[derive(Debug, Subcommand)]
enum SecretCommand {
    /// List the secrets that are set, by name
    List {
        /// Like telegram
        hook: String,
    },
    /// Set a secret
    Set {
        /// Like telegram
        hook: String,
        /// Like bot_token
        name: String,
        /// Its value; @env:NAME and @file:PATH say where to read it, and without one it is read from stdin
        #[arg(hide_default_value = true)]
        value: Option<String>,
        /// The one host that it is sent to [default: what the version in use says]
        #[arg(long, conflicts_with = "sign")]
        host: Option<String>,
        /// It is for signing, and is sent nowhere
        #[arg(long)]
        sign: bool,
    },
    /// Delete a secret
    Delete {
        /// Like telegram
        hook: String,
        /// Like bot_token
        name: String,
    },
}

#[derive(Debug, Subcommand)]
enum StorageCommand {
    /// List keys
    List {
        /// Like license-keys
        hook: String,
        /// Only keys that begin with this
        #[arg(default_value = "")]
        prefix: String,
    },
    /// Show a value
    Get {
        /// Like license-keys
        hook: String,
        /// Its key
        #[arg(value_name = "KEY")]
        under: String,
    },
    /// Put a text under a key
    Put {
        /// Like license-keys
        hook: String,
        /// Its key
        #[arg(value_name = "KEY")]
        under: String,
        /// The text
        value: String,
    },
    /// Delete a value
    Delete {
        /// Like license-keys
        hook: String,
        /// Its key
        #[arg(value_name = "KEY")]
        under: String,
    },
}

pub(super) async fn run(global: &Global, args: HookArgs) -> anyhow::Result<()> {
    let json = args.server.json;
    if let Command::Build { folder, out } = args.command {
        let file = build::build(&folder, out)?;
        let bytes = std::fs::metadata(&file)?.len();
        if json {
            print::json(&json!({ "file": file, "bytes": bytes }));
        } else {
            print::done(format!("{} ({} KiB)", file.display(), bytes.div_ceil(1024)));
            print::note(format!("\nNext: kassa hook upload {} --activate", file.display()));
        }
        return Ok(());
    }
    if let Command::New { name, lang } = &args.command {
        new::make(Path::new(name), name, *lang)?;
        print::done(format!("{name} is there: plugin.toml says what it is run for, its source what it does"));
        let first = lang.first().map(|first| format!("{first}\n      ")).unwrap_or_default();
        print::note(format!("\nNext: cd {name}\n      {first}kassa hook build"));
        return Ok(());
    }
    let out = Out { client: Client::new(global, &args.server)?, json };
    match args.command {
        Command::New { .. } | Command::Build { .. } => Ok(()),
        Command::Validate { file } => out.validate(&file).await,
        Command::Upload { file, activate } => out.upload(&file, activate).await,
        Command::List => out.list().await,
        Command::Show { hook } => out.show(&hook).await,
        Command::Activate { hook, version } => out.activate(&hook, version).await,
        Command::Replay { hook, version, limit } => out.replay(&hook, version, limit).await,
        Command::Shadow { hook, version, off } => out.shadow(&hook, version, off).await,
        Command::Rollback { hook } => out.roll_back(&hook).await,
        Command::Enable { hook } => out.act(&hook, "enable", "runs").await,
        Command::Disable { hook } => out.act(&hook, "disable", "is disabled; its runs wait").await,
        Command::Delete { hook, only } => out.delete(&hook, only).await,
        Command::Bind(bind) => out.bind(bind).await,
        Command::Settings { hook, file } => out.settings(&hook, file.as_deref()).await,
        Command::Secret(command) => out.secret(command).await,
        Command::Storage(command) => out.storage(command).await,
        Command::Runs(args) => out.runs(args).await,
        Command::Matches { hook, limit } => out.matches(&hook, limit).await,
        Command::Run { id } => out.run(&id).await,
        Command::Again { id } => out.again(&id).await,
        Command::Usage { hook: Some(hook) } => out.usage(&hook).await,
        Command::Usage { hook: None } => out.disk().await,
    }
}

/// The commands that ask a server.
struct Out {
    client: Client,
    json: bool,
}

fn read(file: &Path) -> anyhow::Result<Vec<u8>> {
    std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))
}

impl Out {
    /// The hook with this name or id.
    async fn find(&self, hook: &str) -> anyhow::Result<Value> {
        let hooks = self.client.get("/v1/hooks").await?;
        let hooks = hooks["data"].as_array().cloned().unwrap_or_default();
        let known: Vec<String> = hooks.iter().map(|hook| text(hook, "name")).collect();
        let found = hooks.into_iter().find(|one| one["name"] == hook || one["id"] == hook);
        found.with_context(|| {
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            format!("there is no hook {hook}; there are: {known}")
        })
    }

    async fn path(&self, hook: &str) -> anyhow::Result<String> {
        Ok(format!("/v1/hooks/{}", text(&self.find(hook).await?, "id")))
    }

    fn say(&self, hook: &Value, what: &str) {
        let version = text(&hook["active"], "version");
        let name = text(hook, "name");
        self.told(hook, format!("{name} {version} {what}").replace("  ", " ").trim());
    }

    fn told(&self, answer: &Value, what: &str) {
        if self.json { print::json(answer) } else { print::done(what) }
    }
}

/// Encodes one segment of a path, or one value of a query.
fn encoded(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>().replace('+', "%20")
}
