//! Names of interfaces, and the versions of them that fit.

/// Interfaces of WASI that a language's standard library may import; see `link`.
const STANDARD: [&str; 5] = ["cli", "io", "clocks", "filesystem", "random"];

/// An interface, by the name that a component imports or exports: `kassa:plugin/log@0.1.0`.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Interface<'n> {
    /// An interface of kassa:plugin, in a version that fits this one: any 0.1.
    Ours(&'n str),
    /// An interface of kassa:plugin, in a version that does not fit.
    OtherVersion,
    /// An interface that a language's library imports.
    Standard,
    Unknown,
}

impl<'n> Interface<'n> {
    pub(super) fn of(full_name: &'n str) -> Self {
        let Some((interface, version)) = full_name.split_once('@') else { return Self::Unknown };
        let Ok(version) = semver::Version::parse(version) else { return Self::Unknown };
        let minor = (version.major, version.minor);
        match interface.split_once('/') {
            Some(("kassa:plugin", name)) if minor == (0, 1) && version.pre.is_empty() => Self::Ours(name),
            Some(("kassa:plugin", _)) => Self::OtherVersion,
            Some((package, _)) if minor == (0, 2) => match package.strip_prefix("wasi:") {
                Some(package) if STANDARD.contains(&package) => Self::Standard,
                _ => Self::Unknown,
            },
            _ => Self::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_patch_of_this_version_fits_and_no_other_version() {
        for version in ["0.1.0", "0.1.1", "0.1.7", "0.1.4294967296", "0.1.0+build"] {
            let name = format!("kassa:plugin/fulfiller@{version}");
            assert_eq!(Interface::of(&name), Interface::Ours("fulfiller"), "{version}");
        }
        for version in ["0.2.0", "0.0.1", "1.1.0", "0.1.0-rc.1"] {
            let name = format!("kassa:plugin/fulfiller@{version}");
            assert_eq!(Interface::of(&name), Interface::OtherVersion, "{version}");
        }
        assert_eq!(Interface::of("wasi:io/streams@0.2.6"), Interface::Standard);
        for name in [
            "fulfiller",
            "kassa:plugin/fulfiller",
            "kassa:plugin/fulfiller@0.1",
            "kassa:plugins/fulfiller@0.1.0",
            "wasi:io/streams@0.3.0",
            "wasi:sockets/tcp@0.2.0",
            "go@0.1.0",
        ] {
            assert_eq!(Interface::of(name), Interface::Unknown, "{name}");
        }
    }
}
