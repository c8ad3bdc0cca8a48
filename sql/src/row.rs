use std::sync::Arc;

use rusqlite::types::Value;
use serde::de::DeserializeOwned;
use sqlx::postgres::PgRow;
use sqlx::sqlite::SqliteRow;
use sqlx::{ColumnIndex, Decode, Row as _, Type};

use crate::error::{Error, Result};

/// A row of either database.
pub enum Row {
    Sqlite(SqliteRow),
    Postgres(PgRow),
    /// SQLite's, read without a pool.
    Direct(Direct),
}

/// A row as it was read, its columns by name.
pub struct Direct {
    pub(crate) names: Arc<[String]>,
    pub(crate) cells: Vec<Value>,
}

/// What a cell is read as.
trait Cell: Sized {
    fn of(value: &Value) -> Option<Self>;
}

impl Cell for String {
    fn of(value: &Value) -> Option<Self> {
        if let Value::Text(text) = value { Some(text.clone()) } else { None }
    }
}

impl Cell for i64 {
    fn of(value: &Value) -> Option<Self> {
        if let Value::Integer(number) = value { Some(*number) } else { None }
    }
}

impl<T: Cell> Cell for Option<T> {
    fn of(value: &Value) -> Option<Self> {
        if *value == Value::Null { Some(None) } else { T::of(value).map(Some) }
    }
}

impl Direct {
    fn cell<T: Cell>(&self, column: &'static str) -> sqlx::Result<T> {
        let place = self.names.iter().position(|name| name == column);
        let value = place.map(|place| &self.cells[place]).ok_or_else(|| sqlx::Error::ColumnNotFound(column.into()))?;
        let wrong = || sqlx::Error::ColumnDecode {
            index: column.into(),
            source: format!("it is {}", value.data_type()).into(),
        };
        T::of(value).ok_or_else(wrong)
    }
}

impl Row {
    fn cell<T>(&self, column: &'static str) -> sqlx::Result<T>
    where
        T: Cell,
        for<'r> T: Decode<'r, sqlx::Sqlite> + Type<sqlx::Sqlite> + Decode<'r, sqlx::Postgres> + Type<sqlx::Postgres>,
        for<'c> &'c str: ColumnIndex<SqliteRow> + ColumnIndex<PgRow>,
    {
        match self {
            Self::Sqlite(row) => row.try_get(column),
            Self::Postgres(row) => row.try_get(column),
            Self::Direct(row) => row.cell(column),
        }
    }

    /// Reads this row as one of `table`, named by its column `key` in errors.
    pub(crate) fn of(&self, table: &'static str, key: &'static str) -> Reader<'_> {
        Reader { row: self, table, key }
    }
}

/// Reads cells and names table and row where one is not what it should be.
#[derive(Clone, Copy)]
pub(crate) struct Reader<'a> {
    row: &'a Row,
    table: &'static str,
    key: &'static str,
}

impl Reader<'_> {
    pub fn text(&self, column: &'static str) -> Result<String> {
        self.row.cell::<String>(column).map_err(|e| self.error(column, e))
    }

    pub fn opt_text(&self, column: &'static str) -> Result<Option<String>> {
        self.row.cell::<Option<String>>(column).map_err(|e| self.error(column, e))
    }

    pub fn int(&self, column: &'static str) -> Result<u64> {
        let value = self.row.cell::<i64>(column).map_err(|e| self.error(column, e))?;
        u64::try_from(value).map_err(|_| self.error(column, format!("{value} is negative")))
    }

    pub fn opt_int(&self, column: &'static str) -> Result<Option<u64>> {
        match self.row.cell::<Option<i64>>(column).map_err(|e| self.error(column, e))? {
            None => Ok(None),
            Some(value) => {
                u64::try_from(value).map(Some).map_err(|_| self.error(column, format!("{value} is negative")))
            }
        }
    }

    pub fn flag(&self, column: &'static str) -> Result<bool> {
        self.int(column).map(|v| v != 0)
    }

    pub fn json<T: DeserializeOwned>(&self, column: &'static str) -> Result<T> {
        serde_json::from_str(&self.text(column)?).map_err(|e| self.error(column, e))
    }

    pub fn opt_json<T: DeserializeOwned>(&self, column: &'static str) -> Result<Option<T>> {
        let text = self.opt_text(column)?;
        text.map(|text| serde_json::from_str(&text)).transpose().map_err(|e| self.error(column, e))
    }

    /// A word of an enum, as serde spells it.
    pub fn word<T: DeserializeOwned>(&self, column: &'static str) -> Result<T> {
        serde_json::from_value(serde_json::Value::String(self.text(column)?)).map_err(|e| self.error(column, e))
    }

    pub fn error(&self, column: &'static str, reason: impl std::fmt::Display) -> Error {
        let row = self.row.cell::<String>(self.key).unwrap_or_else(|_| "?".into());
        Error::Row { table: self.table, row, column, reason: reason.to_string() }
    }
}

/// An enum's word as serde spells it: what `Reader::word` reads back.
pub(crate) fn word<T: serde::Serialize>(value: &T) -> Result<String> {
    match serde_json::to_value(value)? {
        serde_json::Value::String(word) => Ok(word),
        other => Ok(other.to_string()),
    }
}
