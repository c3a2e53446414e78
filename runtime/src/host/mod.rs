//! All of wasmtime: engine, bindings, admission, registry, calls, services.
