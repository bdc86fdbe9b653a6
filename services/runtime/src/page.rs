//! Keyset pages: sizes, tokens, and the cut after one row too many.

use berth_core::{Error, Result};
use uuid::Uuid;

/// Rows when the caller names no number.
const DEFAULT: i64 = 50;
/// Most rows that a page holds.
const MAX: i64 = 200;

/// Which rows a caller wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    size: i64,
    after: Option<String>,
}

impl Page {
    /// Reads `page_size` and `page_token` of a request.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for a negative size or a token that is not ours.
    pub fn parse(page_size: i32, page_token: &str) -> Result<Self> {
        let size = match i64::from(page_size) {
            ..0 => return Err(Error::invalid("page_size", "must not be negative")),
            0 => DEFAULT,
            size => size.min(MAX),
        };
        let bad = || Error::invalid("page_token", "is not a `next_page_token` of this list");
        let after = if page_token.is_empty() {
            None
        } else {
            let bytes = hex::decode(page_token).map_err(|_| bad())?;
            let text = String::from_utf8(bytes).map_err(|_| bad())?;
            Some(text)
                .filter(|text| text.len() <= 256)
                .ok_or_else(bad)?
                .into()
        };
        Ok(Self { size, after })
    }

    /// How many rows to ask the database for: one more than the page holds.
    #[must_use]
    pub fn limit(&self) -> i64 {
        self.size + 1
    }

    /// Key of the last row of the page before, as it was given to [`Self::cut`].
    #[must_use]
    pub fn after(&self) -> Option<&str> {
        self.after.as_deref()
    }

    /// The same as a UUID, for lists in order of identifiers.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] when the token is of another list.
    pub fn after_uuid(&self) -> Result<Option<Uuid>> {
        self.after
            .as_deref()
            .map(|text| {
                Uuid::try_parse(text).map_err(|_| {
                    Error::invalid("page_token", "is not a `next_page_token` of this list")
                })
            })
            .transpose()
    }

    /// Cuts the surplus row off and makes the token of the next page.
    #[must_use]
    pub fn cut<T>(&self, mut rows: Vec<T>, key: impl Fn(&T) -> String) -> (Vec<T>, String) {
        let size = usize::try_from(self.size).unwrap_or(usize::MAX);
        if rows.len() <= size {
            return (rows, String::new());
        }
        rows.truncate(size);
        let token = rows.last().map(|row| hex::encode(key(row)));
        (rows, token.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_of_a_full_page_leads_to_the_row_after_it() {
        let page = Page::parse(2, "").unwrap();
        let (rows, token) = page.cut(vec!["a", "b", "c"], |row| (*row).to_owned());
        assert_eq!(rows, ["a", "b"]);
        assert_eq!(Page::parse(2, &token).unwrap().after(), Some("b"));
        let (_, token) = page.cut(vec!["a", "b"], |row| (*row).to_owned());
        assert_eq!(token, "");
    }

    #[test]
    fn absurd_sizes_and_foreign_tokens_are_refused() {
        assert!(Page::parse(-1, "").is_err());
        assert!(Page::parse(0, "zz").is_err());
        assert_eq!(Page::parse(1000, "").unwrap().limit(), 201);
        assert_eq!(Page::parse(0, "").unwrap().limit(), 51);
    }
}
