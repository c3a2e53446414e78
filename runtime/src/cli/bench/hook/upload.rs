//! From an upload to a hook in use, through HTTP: the component is checked, compiled in a process of its own, started
//! once, stored and activated. Each upload is of another artefact, so none is compiled already. The limit is
//! wasmtime compiling the same component, in this process.

use std::time::Instant;

use anyhow::ensure;
use http::StatusCode;

use super::components::{Components, Language};
use crate::{
    cli::bench::{
        Bench, Busy, PAIRS,
        load::Connection,
        report::Figure,
        world::{self, Customer, Server},
    },
    host::bench::BareHooks,
};

pub(super) async fn run(bench: &Bench, components: &Components, busy: &Busy) -> anyhow::Result<()> {
    let app = world::open(&bench.folder("hook-upload")?).await?;
    let customer = Customer::new(&app, "upload").await?;
    let server = Server::start(app.clone()).await?;
    let bare = BareHooks::new()?;
    let mut number = 0;
    for (language, component) in &components.fulfillers {
        let metric = format!("{}_upload", language.word());
        let wasm = match component {
            Ok(wasm) => wasm,
            Err(why) => {
                bench.report.missing("hook", &metric, why);
                continue;
            }
        };
        let (mut ours, mut limit) = (Vec::new(), Vec::new());
        for _ in 0..PAIRS {
            number += 1;
            busy.says(format!("upload {number}"));
            let request = customer.upload(world::another(wasm, number))?;
            let mut connection = Connection::open(server.address).await?;
            let started = Instant::now();
            let (status, body) = connection.send(request).await?;
            ours.push(started.elapsed().as_secs_f64());
            ensure!(status == StatusCode::CREATED, "answered {status}: {}", String::from_utf8_lossy(&body));
            let uploaded: serde_json::Value = serde_json::from_slice(&body)?;
            ensure!(uploaded["version"]["active"] == true, "it is not in use: {uploaded}");
            let (bare, wasm) = (bare.clone(), wasm.clone());
            let compiled = tokio::task::spawn_blocking(move || {
                let started = Instant::now();
                bare.compile(&wasm, Default::default()).map(|_| started.elapsed())
            });
            limit.push(compiled.await??.as_secs_f64());
        }
        let aim_s = match language {
            Language::Rust => 1.0,
            Language::Js => 3.0,
            Language::Python => 15.0,
        };
        bench.report.figure(&Figure::less("hook", metric, "s").ours(ours).limit(limit).aim(aim_s));
    }
    server.stop().await?;
    app.db.close().await;
    Ok(())
}
