//! Tenants: a merchant in one mode. What belongs to one is seen and reached by no other.

use std::fmt;

use super::id::MerchantId;

/// Real money, or test networks. There is no default: callers say which mode they mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mode {
    /// Networks with real money.
    Live,
    /// Test networks.
    Test,
}

impl Mode {
    /// The mode of a flag `test`, as manifests and the database write it.
    #[must_use]
    pub fn of_test(flag: bool) -> Self {
        if flag { Self::Test } else { Self::Live }
    }

    #[must_use]
    pub fn is_test(self) -> bool {
        self == Self::Test
    }

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Test => "test",
        }
    }
}

/// A merchant in one mode.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tenant {
    /// The merchant's id.
    pub merchant: MerchantId,
    pub mode: Mode,
}

impl Tenant {
    #[must_use]
    pub fn live(merchant: impl Into<MerchantId>) -> Self {
        Self { merchant: merchant.into(), mode: Mode::Live }
    }

    #[must_use]
    pub fn test(merchant: impl Into<MerchantId>) -> Self {
        Self { merchant: merchant.into(), mode: Mode::Test }
    }
}

/// As `mer_01K…:live`.
impl fmt::Display for Tenant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.merchant, self.mode.as_str())
    }
}
