//! Reading of TOML tables with the place of every word, so that each error has its line and column.

use std::ops::{Range, RangeInclusive};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::error::{ScriptError, did_you_mean};

/// A value and the byte it begins at.
#[derive(Clone, Debug)]
pub(crate) struct At<T> {
    pub(crate) value: T,
    pub(crate) offset: usize,
}

/// Collects the errors of one source.
pub(crate) struct Errors<'s> {
    pub(crate) source: &'s str,
    pub(crate) list: Vec<ScriptError>,
}

impl Errors<'_> {
    pub(crate) fn push(&mut self, offset: usize, message: impl Into<String>) {
        self.list.push(ScriptError::at(self.source, offset, message));
    }
}

/// One table being read.
pub(crate) struct Fields<'t, 'i> {
    table: &'t DeTable<'i>,
    /// As errors name it: `[script]`, `menu node`.
    pub(crate) what: String,
    /// Where an error about the table itself points: its name's value, or its head.
    pub(crate) offset: usize,
}

impl<'t, 'i> Fields<'t, 'i> {
    pub(crate) fn new(table: &'t DeTable<'i>, what: impl Into<String>, offset: usize) -> Self {
        Self { table, what: what.into(), offset }
    }

    /// Complains of every key that is not in `known`.
    pub(crate) fn only(&self, known: &[&str], errors: &mut Errors<'_>) {
        for key in self.table.keys() {
            let name: &str = key.get_ref();
            if !known.contains(&name) {
                let hint = did_you_mean(name, known.iter().copied());
                let hint = if hint.is_empty() { format!("; it may have {}", known.join(", ")) } else { hint };
                errors.push(key.span().start, format!("unknown key `{name}` in a {}{hint}", self.what));
            }
        }
    }

    pub(crate) fn get(&self, key: &str) -> Option<&'t Spanned<DeValue<'i>>> {
        self.table.get(key)
    }

    fn required(&self, key: &str, errors: &mut Errors<'_>) -> Option<&'t Spanned<DeValue<'i>>> {
        let value = self.get(key);
        if value.is_none() {
            errors.push(self.offset, format!("a {} needs `{key}`", self.what));
        }
        value
    }

    pub(crate) fn text(&self, key: &str, errors: &mut Errors<'_>) -> Option<At<String>> {
        let value = self.required(key, errors)?;
        text_of(value, key, errors)
    }

    pub(crate) fn text_or(&self, key: &str, errors: &mut Errors<'_>) -> Option<At<String>> {
        text_of(self.get(key)?, key, errors)
    }

    pub(crate) fn flag_or(&self, key: &str, default: bool, errors: &mut Errors<'_>) -> bool {
        let Some(value) = self.get(key) else { return default };
        value.get_ref().as_bool().unwrap_or_else(|| {
            errors.push(value.span().start, format!("`{key}` is true or false"));
            default
        })
    }

    pub(crate) fn whole(&self, key: &str, range: RangeInclusive<i64>, errors: &mut Errors<'_>) -> Option<i64> {
        whole_of(self.required(key, errors)?, key, range, errors)
    }

    pub(crate) fn whole_or(&self, key: &str, default: i64, range: RangeInclusive<i64>, errors: &mut Errors<'_>) -> i64 {
        let Some(value) = self.get(key) else { return default };
        whole_of(value, key, range, errors).unwrap_or(default)
    }

    /// A list of texts, or one text.
    pub(crate) fn texts_or(&self, key: &str, errors: &mut Errors<'_>) -> Vec<At<String>> {
        let Some(value) = self.get(key) else { return Vec::new() };
        match value.get_ref().as_array() {
            Some(list) => list.iter().filter_map(|one| text_of(one, key, errors)).collect(),
            None => text_of(value, key, errors).into_iter().collect(),
        }
    }

    pub(crate) fn table_or(&self, key: &str, errors: &mut Errors<'_>) -> Option<(&'t DeTable<'i>, Range<usize>)> {
        let value = self.get(key)?;
        match value.get_ref() {
            DeValue::Table(table) => Some((table, value.span())),
            _ => {
                errors.push(value.span().start, format!("`{key}` is a table, as `{key} = {{ ... }}`"));
                None
            }
        }
    }

    pub(crate) fn table(&self, key: &str, errors: &mut Errors<'_>) -> Option<(&'t DeTable<'i>, Range<usize>)> {
        self.required(key, errors)?;
        self.table_or(key, errors)
    }
}

pub(crate) fn text_of(value: &Spanned<DeValue<'_>>, key: &str, errors: &mut Errors<'_>) -> Option<At<String>> {
    let offset = value.span().start;
    match value.get_ref().as_str() {
        Some(text) => Some(At { value: text.to_owned(), offset }),
        None => {
            errors.push(offset, format!("`{key}` is a text in quotes"));
            None
        }
    }
}

pub(crate) fn whole_of(
    value: &Spanned<DeValue<'_>>,
    key: &str,
    range: RangeInclusive<i64>,
    errors: &mut Errors<'_>,
) -> Option<i64> {
    let number =
        value.get_ref().as_integer().and_then(|number| i64::from_str_radix(number.as_str(), number.radix()).ok());
    match number {
        Some(number) if range.contains(&number) => Some(number),
        Some(_) | None => {
            let (least, most) = (range.start(), range.end());
            errors.push(value.span().start, format!("`{key}` is a whole number from {least} to {most}"));
            None
        }
    }
}
