//! Amounts by dimension, and the legs of a charge.

use crate::money::{DisplayUnits, NanoUsd, Tokens};

/// What a balance is counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dimension {
    /// Nano-dollars.
    Usd,
    /// Tokens.
    Tokens,
    /// Millionths of a display unit.
    Display,
}

/// A set of dimensions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dimensions(u8);

/// An amount in each dimension of one account. A wallet uses USD alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amounts {
    /// USD.
    pub usd: NanoUsd,
    /// Tokens.
    pub tokens: Tokens,
    /// Display units.
    pub display: DisplayUnits,
}

/// What one call costs: a leg on the wallet and legs on the budget.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Legs {
    /// The platform's wallet pays the provider cost.
    pub wallet: NanoUsd,
    /// The end user's budget pays the cost with markup, and the tokens.
    pub budget: Amounts,
}

/// A sum left the range of an amount.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an amount is out of range")]
pub struct Overflow;

// === impl Dimension ===

impl Dimension {
    /// Every dimension, in the order in which limits are checked.
    pub const ALL: [Self; 3] = [Self::Usd, Self::Tokens, Self::Display];

    /// The text on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Usd => "usd",
            Self::Tokens => "tokens",
            Self::Display => "display",
        }
    }
}

// === impl Dimensions ===

impl Dimensions {
    /// USD alone: what a wallet enforces.
    pub const USD: Self = Self(1);
    /// What may have a threshold: USD and tokens.
    pub const WATCHED: Self = Self(3);
    /// None.
    pub const NONE: Self = Self(0);

    /// Adds a dimension.
    #[must_use]
    pub fn with(self, dimension: Dimension) -> Self {
        Self(self.0 | Self::bit(dimension))
    }

    /// Those that are in both sets.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Those that are not in the other set.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether the dimension is in the set.
    pub fn contains(self, dimension: Dimension) -> bool {
        self.0 & Self::bit(dimension) != 0
    }

    /// The bit set that backends store: 1 USD, 2 tokens, 4 display.
    pub const fn bits(self) -> i16 {
        self.0 as i16
    }

    /// From the bit set that backends store.
    pub const fn from_bits(bits: i16) -> Self {
        Self((bits & 7) as u8)
    }

    const fn bit(dimension: Dimension) -> u8 {
        match dimension {
            Dimension::Usd => 1,
            Dimension::Tokens => 2,
            Dimension::Display => 4,
        }
    }
}

// === impl Amounts ===

impl Amounts {
    /// Nothing.
    pub const ZERO: Self = Self {
        usd: NanoUsd::ZERO,
        tokens: Tokens::ZERO,
        display: DisplayUnits::ZERO,
    };

    /// USD alone.
    pub const fn usd(usd: NanoUsd) -> Self {
        Self { usd, ..Self::ZERO }
    }

    /// From integers of the base units, as backends store them.
    pub const fn from_raw(usd: i64, tokens: i64, display: i64) -> Self {
        Self {
            usd: NanoUsd::new(usd),
            tokens: Tokens::new(tokens),
            display: DisplayUnits::new(display),
        }
    }

    /// One dimension, as an integer of its base unit.
    pub const fn get(&self, dimension: Dimension) -> i64 {
        match dimension {
            Dimension::Usd => self.usd.get(),
            Dimension::Tokens => self.tokens.get(),
            Dimension::Display => self.display.get(),
        }
    }

    /// Sets one dimension.
    pub const fn set(&mut self, dimension: Dimension, value: i64) {
        match dimension {
            Dimension::Usd => self.usd = NanoUsd::new(value),
            Dimension::Tokens => self.tokens = Tokens::new(value),
            Dimension::Display => self.display = DisplayUnits::new(value),
        }
    }

    /// Builds an amount from a function of the dimension.
    pub fn from_fn(mut value: impl FnMut(Dimension) -> i64) -> Self {
        Self::from_raw(
            value(Dimension::Usd),
            value(Dimension::Tokens),
            value(Dimension::Display),
        )
    }

    /// The sum.
    ///
    /// # Errors
    /// [`Overflow`], and then nothing may be posted.
    pub fn checked_add(self, other: Self) -> Result<Self, Overflow> {
        self.zip(other, i64::checked_add)
    }

    /// The difference.
    ///
    /// # Errors
    /// [`Overflow`], and then nothing may be posted.
    pub fn checked_sub(self, other: Self) -> Result<Self, Overflow> {
        self.zip(other, i64::checked_sub)
    }

    /// The same amounts with the other sign.
    #[must_use]
    pub fn negated(self) -> Self {
        Self::from_fn(|d| -self.get(d))
    }

    /// Whether every dimension is zero.
    pub fn is_zero(&self) -> bool {
        *self == Self::ZERO
    }

    fn zip(self, other: Self, op: impl Fn(i64, i64) -> Option<i64>) -> Result<Self, Overflow> {
        Ok(Self {
            usd: NanoUsd::new(op(self.usd.get(), other.usd.get()).ok_or(Overflow)?),
            tokens: Tokens::new(op(self.tokens.get(), other.tokens.get()).ok_or(Overflow)?),
            display: DisplayUnits::new(
                op(self.display.get(), other.display.get()).ok_or(Overflow)?,
            ),
        })
    }
}

// === impl Legs ===

impl Legs {
    /// Nothing.
    pub const ZERO: Self = Self {
        wallet: NanoUsd::ZERO,
        budget: Amounts::ZERO,
    };

    /// Whether no leg moves anything.
    pub fn is_zero(&self) -> bool {
        *self == Self::ZERO
    }

    /// The larger of two costs, leg by leg.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        Self {
            wallet: self.wallet.max(other.wallet),
            budget: Amounts::from_fn(|d| self.budget.get(d).max(other.budget.get(d))),
        }
    }

    /// The sum, leg by leg.
    ///
    /// # Errors
    /// [`Overflow`].
    pub fn checked_add(self, other: Self) -> Result<Self, Overflow> {
        Ok(Self {
            wallet: self.wallet.checked_add(other.wallet).ok_or(Overflow)?,
            budget: self.budget.checked_add(other.budget)?,
        })
    }

    /// The same legs with the other sign.
    #[must_use]
    pub fn negated(self) -> Self {
        Self {
            wallet: self.wallet.negated(),
            budget: self.budget.negated(),
        }
    }

    /// The smaller of two, leg by leg.
    #[must_use]
    pub(crate) fn min(self, other: Self) -> Self {
        self.negated().max(other.negated()).negated()
    }

    /// Legs below zero count as zero.
    #[must_use]
    pub(crate) fn at_least_zero(self) -> Self {
        self.max(Self::ZERO)
    }
}
