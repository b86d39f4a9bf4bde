//! Amounts: integer newtypes for money, tokens and display units.
//!
//! No float ever holds an amount. A USD amount is a whole number of nano-dollars (1e-9 USD); decimals exist
//! only at the edge, where they are read from and written to text. Arithmetic is checked: an amount never
//! wraps and never saturates silently.

use std::fmt;
use std::str::FromStr;

use bigdecimal::BigDecimal;
use bigdecimal::num_bigint::BigInt;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

/// An amount of money in billionths of a US dollar (1e-9 USD).
///
/// `i64` holds about ±9.22 thousand million USD.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NanoUsd(i64);

/// A number of LLM tokens, as a signed ledger amount.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Tokens(i64);

/// An amount of a platform's own display unit, in millionths of the unit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DisplayUnits(i64);

/// A surcharge on what an end user's budget is charged, in ten-thousandths of a percent.
///
/// 12.5 % is `125_000`. It applies to the budget's USD leg alone, never to the wallet and never to tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Markup(i64);

/// An amount was not a plain decimal number within the allowed range and precision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AmountError {
    /// The text is not `-?digits[.digits]`; exponents are refused.
    #[error("must be a decimal number without exponent")]
    Syntax,
    /// More fractional digits than the unit can hold.
    #[error("must have at most {max} fractional digits")]
    Precision {
        /// The largest number of fractional digits.
        max: usize,
    },
    /// Beyond the largest amount.
    #[error("must not exceed {max} in magnitude")]
    Range {
        /// The largest magnitude, as text.
        max: &'static str,
    },
}

/// Parses `-?digits[.digits]` into an integer scaled by `10^scale`.
///
/// No exponent: `1e1000000` is nine bytes to send and half a second to expand.
pub(crate) fn parse_scaled(
    text: &str,
    scale: usize,
    max: i64,
    max_text: &'static str,
) -> Result<i64, AmountError> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (whole, fraction) = match digits.split_once('.') {
        Some((whole, fraction)) if !fraction.is_empty() => (whole, fraction),
        Some(_) => return Err(AmountError::Syntax),
        None => (digits, ""),
    };
    let all_digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || !all_digits(whole) || !all_digits(fraction) {
        return Err(AmountError::Syntax);
    }
    if fraction.len() > scale {
        return Err(AmountError::Precision { max: scale });
    }
    let range = AmountError::Range { max: max_text };
    let mut value: i64 = 0;
    let padding = std::iter::repeat_n(b'0', scale - fraction.len());
    for digit in whole.bytes().chain(fraction.bytes()).chain(padding) {
        value = value
            .checked_mul(10)
            .and_then(|v| v.checked_add(i64::from(digit - b'0')))
            .filter(|v| *v <= max)
            .ok_or(range)?;
    }
    Ok(if negative { -value } else { value })
}

/// Writes an integer scaled by `10^scale` as a decimal with at least `min` fractional digits.
pub(crate) fn write_scaled(
    f: &mut fmt::Formatter<'_>,
    value: i64,
    scale: usize,
    min: usize,
) -> fmt::Result {
    let sign = if value < 0 { "-" } else { "" };
    let padded = format!("{:0width$}", value.unsigned_abs(), width = scale + 1);
    let (whole, fraction) = padded.split_at(padded.len() - scale);
    let kept = fraction.trim_end_matches('0').len().max(min);
    if kept == 0 {
        return write!(f, "{sign}{whole}");
    }
    write!(f, "{sign}{whole}.{}", &fraction[..kept])
}

/// The decimal text of a JSON number or of a JSON string, taken from the source text.
pub(crate) fn decimal_text(raw: &RawValue) -> Result<String, AmountError> {
    let text = raw.get();
    if text.starts_with('"') {
        return serde_json::from_str(text).map_err(|_| AmountError::Syntax);
    }
    if text.starts_with(|c: char| c == '-' || c.is_ascii_digit()) {
        return Ok(text.to_owned());
    }
    Err(AmountError::Syntax)
}

/// An amount as its bare integer, for values that the gateway stores for itself: signed, and of any size.
///
/// Use as `#[serde(with = "crate::money::stored")]`. What callers send is read by the types' own `Deserialize`,
/// which keeps to the ranges of the API.
pub(crate) mod stored {
    use serde::{Deserialize, Deserializer, Serializer};

    /// An amount around an integer.
    pub(crate) trait Integer: Copy {
        fn from_integer(value: i64) -> Self;
        fn integer(self) -> i64;
    }

    pub(crate) fn serialize<T: Integer, S: Serializer>(
        amount: &T,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_i64(amount.integer())
    }

    pub(crate) fn deserialize<'de, T: Integer, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<T, D::Error> {
        i64::deserialize(deserializer).map(T::from_integer)
    }
}

macro_rules! amount {
    ($name:ident, $unit:literal) => {
        impl stored::Integer for $name {
            fn from_integer(value: i64) -> Self {
                Self(value)
            }
            fn integer(self) -> i64 {
                self.0
            }
        }

        impl $name {
            /// Nothing.
            pub const ZERO: Self = Self(0);
            #[doc = concat!("Wraps a number of ", $unit, ".")]
            pub const fn new(value: i64) -> Self {
                Self(value)
            }
            #[doc = concat!("The number of ", $unit, ".")]
            pub const fn get(self) -> i64 {
                self.0
            }
            /// The sum, or `None` when it would overflow.
            pub fn checked_add(self, other: Self) -> Option<Self> {
                self.0.checked_add(other.0).map(Self)
            }
            /// The difference, or `None` when it would overflow.
            pub fn checked_sub(self, other: Self) -> Option<Self> {
                self.0.checked_sub(other.0).map(Self)
            }
            /// The same amount with the other sign. Amounts are far from `i64::MIN`, which would have none.
            pub fn negated(self) -> Self {
                Self(-self.0)
            }
            /// Whether this is more than nothing.
            pub fn is_positive(self) -> bool {
                self.0 > 0
            }
            /// Whether this is nothing at all.
            pub fn is_zero(self) -> bool {
                self.0 == 0
            }
        }
    };
}
amount!(NanoUsd, "nano-dollars");
amount!(Tokens, "tokens");
amount!(DisplayUnits, "millionths of a display unit");

// === impl NanoUsd ===

impl NanoUsd {
    /// The largest amount that may be put in: 999,999,999.999999999 USD.
    pub const MAX_INPUT: Self = Self(999_999_999_999_999_999);

    /// The exact decimal value in USD, for the API edge.
    pub fn to_decimal(self) -> BigDecimal {
        BigDecimal::new(BigInt::from(self.0), 9)
    }
}

impl FromStr for NanoUsd {
    type Err = AmountError;

    fn from_str(text: &str) -> Result<Self, AmountError> {
        parse_scaled(text, 9, Self::MAX_INPUT.0, "999999999.999999999").map(Self)
    }
}

/// Six to nine fractional digits; zeros after the sixth are dropped (`docs/api-design.md`).
impl fmt::Display for NanoUsd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_scaled(f, self.0, 9, 6)
    }
}

/// Writes an exact JSON number.
impl Serialize for NanoUsd {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let number = RawValue::from_string(self.to_string()).map_err(serde::ser::Error::custom)?;
        number.serialize(serializer)
    }
}

/// Reads a JSON number or string from its source text, never through a float.
impl<'de> Deserialize<'de> for NanoUsd {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        decimal_text(&raw)
            .and_then(|text| text.parse())
            .map_err(D::Error::custom)
    }
}

// === impl Tokens ===

impl Tokens {
    /// The largest token amount that may be put in: 2^53 − 1.
    pub const MAX_INPUT: Self = Self(9_007_199_254_740_991);
}

impl fmt::Display for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<'de> Deserialize<'de> for Tokens {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value =
            i64::deserialize(deserializer).map_err(|_| D::Error::custom("must be an integer"))?;
        if !(0..=Self::MAX_INPUT.0).contains(&value) {
            return Err(D::Error::custom("must be between 0 and 9007199254740991"));
        }
        Ok(Self(value))
    }
}

// === impl DisplayUnits ===

impl DisplayUnits {
    /// The largest amount that may be put in: 999,999,999.999999 units.
    pub const MAX_INPUT: Self = Self(999_999_999_999_999);
}

impl FromStr for DisplayUnits {
    type Err = AmountError;

    fn from_str(text: &str) -> Result<Self, AmountError> {
        parse_scaled(text, 6, Self::MAX_INPUT.0, "999999999.999999").map(Self)
    }
}

impl fmt::Display for DisplayUnits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_scaled(f, self.0, 6, 0)
    }
}

/// Writes an exact JSON number.
impl Serialize for DisplayUnits {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let number = RawValue::from_string(self.to_string()).map_err(serde::ser::Error::custom)?;
        number.serialize(serializer)
    }
}

/// Reads a JSON number or string from its source text, never through a float.
impl<'de> Deserialize<'de> for DisplayUnits {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        decimal_text(&raw)
            .and_then(|text| text.parse())
            .map_err(D::Error::custom)
    }
}

// === impl Markup ===

impl Markup {
    /// No surcharge.
    pub const NONE: Self = Self(0);
    /// 1000 %, the largest allowed.
    pub const MAX: Self = Self(10_000_000);

    /// Wraps ten-thousandths of a percent.
    pub const fn new(value: i64) -> Self {
        Self(value)
    }

    /// Ten-thousandths of a percent.
    pub const fn get(self) -> i64 {
        self.0
    }
}

impl FromStr for Markup {
    type Err = AmountError;

    fn from_str(text: &str) -> Result<Self, AmountError> {
        let value = parse_scaled(text, 4, Self::MAX.0, "1000")?;
        if value < 0 {
            Err(AmountError::Range { max: "1000" })
        } else {
            Ok(Self(value))
        }
    }
}

impl fmt::Display for Markup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_scaled(f, self.0, 4, 0)
    }
}

impl Serialize for Markup {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let number = RawValue::from_string(self.to_string()).map_err(serde::ser::Error::custom)?;
        number.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Markup {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        decimal_text(&raw)
            .and_then(|text| text.parse())
            .map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn writes_six_to_nine_digits() {
        for (nano, text) in [
            (187_412_955_000, "187.412955"),
            (10_000_000_000, "10.000000"),
            (213, "0.000000213"),
            (-5_000_000_000, "-5.000000"),
            (10_695_375, "0.010695375"),
        ] {
            assert_eq!(NanoUsd::new(nano).to_string(), text);
        }
    }

    #[test]
    fn reads_numbers_and_strings_exactly() {
        for text in ["0.1", "\"0.1\"", "0.100000000"] {
            let amount: NanoUsd = serde_json::from_str(text).unwrap();
            assert_eq!(amount, NanoUsd::new(100_000_000), "{text}");
        }
    }

    #[test]
    fn refuses_what_is_not_a_plain_decimal() {
        for text in [
            "1e3",
            "1.",
            ".5",
            "",
            "-",
            "+1",
            "1,0",
            "0.1234567890",
            "1000000000",
            "NaN",
            "true",
            "null",
            "[1]",
        ] {
            assert!(
                serde_json::from_str::<NanoUsd>(text).is_err() || text.is_empty(),
                "{text}"
            );
            assert!(text.parse::<NanoUsd>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn text_round_trips(nano in -999_999_999_999_999_999i64..=999_999_999_999_999_999) {
            let amount = NanoUsd::new(nano);
            prop_assert_eq!(amount.to_string().parse::<NanoUsd>().unwrap(), amount);
            prop_assert_eq!(serde_json::from_str::<NanoUsd>(&serde_json::to_string(&amount).unwrap()).unwrap(), amount);
            prop_assert_eq!(BigDecimal::from_str(&amount.to_string()).unwrap(), amount.to_decimal());
        }
    }
}
