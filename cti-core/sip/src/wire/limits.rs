//! What a message may measure. Everything beyond is refused before anything is kept of it.

/// A whole message, start line to body: the largest UDP payload field.
pub const MESSAGE_LEN_MAX: usize = 65_535;
/// Start line and headers with the empty line.
pub const HEAD_LEN_MAX: usize = 48 * 1024;
/// One header with its continuation lines, and the start line.
pub const HEADER_LEN_MAX: usize = 8 * 1024;
pub const HEADERS_MAX: usize = 128;
pub const BODY_LEN_MAX: usize = 64 * 1024;
/// Elements of one comma-separated header family (Via, Route, Record-Route, Contact).
pub const LIST_MAX: usize = 64;
/// Call-ID, tags, branches and nonces as they are kept in tables.
pub const TOKEN_LEN_MAX: usize = 512;
