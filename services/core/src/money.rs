//! Money: whole micro-units of a currency, never a float.

use chrono::TimeDelta;
use std::fmt;
use std::str::FromStr;

/// Millionths of a unit in one unit.
const MICROS: i64 = 1_000_000;

/// An ISO 4217 code.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Currency([u8; 3]);

impl Currency {
    /// Euro.
    pub const EUR: Self = Self(*b"EUR");

    /// The three letters.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // Only capitals A to Z ever get in.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl FromStr for Currency {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        <[u8; 3]>::try_from(text.as_bytes())
            .ok()
            .filter(|code| code.iter().all(u8::is_ascii_uppercase))
            .map(Self)
            .ok_or_else(|| "expected three capital letters, such as `EUR`".to_owned())
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An amount of one currency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Money {
    /// The currency.
    pub currency: Currency,
    /// Millionths of one unit.
    pub micros: i64,
}

impl Money {
    /// An amount.
    #[must_use]
    pub fn new(currency: Currency, micros: i64) -> Self {
        Self { currency, micros }
    }

    /// What a price per hour comes to over a time, rounded up to a whole
    /// micro-unit; nothing for a time that is not positive.
    #[must_use]
    pub fn for_time(self, time: TimeDelta) -> Self {
        let seconds = i128::from(time.num_seconds().max(0));
        let micros = (i128::from(self.micros) * seconds + 3599).div_euclid(3600);
        Self {
            micros: i64::try_from(micros).unwrap_or(i64::MAX),
            ..self
        }
    }
}

impl FromStr for Money {
    type Err = String;

    /// Reads `1.50 EUR`, `1.50EUR` or `1.50` (euro).
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || format!("`{text}` is not an amount such as `1.50 EUR`");
        let text = text.trim();
        let split = text
            .find(|c: char| c.is_ascii_alphabetic())
            .unwrap_or(text.len());
        let (number, code) = text.split_at(split);
        let number = number.trim_end();
        if number.is_empty() {
            return Err(wrong());
        }
        let currency = if code.is_empty() {
            Currency::EUR
        } else {
            code.parse()?
        };
        let (negative, number) = match number.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, number),
        };
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
        if whole.is_empty() || !digits(whole) || !digits(fraction) || fraction.len() > 6 {
            return Err(wrong());
        }
        let whole: i64 = whole.parse().map_err(|_| wrong())?;
        let fraction: i64 = format!("{fraction:0<6}").parse().map_err(|_| wrong())?;
        let micros = whole
            .checked_mul(MICROS)
            .and_then(|whole| whole.checked_add(fraction))
            .ok_or_else(wrong)?;
        Ok(Self {
            currency,
            micros: if negative { -micros } else { micros },
        })
    }
}

impl fmt::Display for Money {
    /// Two decimals, or as many as it takes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.micros < 0 { "-" } else { "" };
        let micros = self.micros.unsigned_abs();
        let (whole, fraction) = (
            micros / MICROS.unsigned_abs(),
            micros % MICROS.unsigned_abs(),
        );
        let fraction = format!("{fraction:06}");
        let shown = fraction.trim_end_matches('0').len().max(2);
        write!(
            f,
            "{sign}{whole}.{} {}",
            fraction.get(..shown).unwrap_or(&fraction),
            self.currency
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_hour_costs_the_price_and_a_second_a_share_rounded_up() {
        let price: Money = "0.36 EUR".parse().unwrap();
        assert_eq!(price.for_time(TimeDelta::hours(1)), price);
        assert_eq!(price.for_time(TimeDelta::seconds(1)).micros, 100);
        assert_eq!(price.for_time(TimeDelta::seconds(-5)).micros, 0);
        let odd = Money::new(Currency::EUR, 1);
        assert_eq!(odd.for_time(TimeDelta::seconds(1)).micros, 1);
    }

    #[test]
    fn amounts_that_are_not_amounts_are_refused() {
        for text in [
            "",
            "EUR",
            "1,5",
            "1.2345678",
            "1 eur",
            "1 EURO",
            "--1",
            "99999999999999",
        ] {
            assert!(text.parse::<Money>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn an_amount_survives_text(micros in any::<i32>()) {
            let money = Money::new(Currency::EUR, i64::from(micros));
            prop_assert_eq!(money.to_string().parse::<Money>(), Ok(money));
        }
    }
}
