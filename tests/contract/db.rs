use std::future::Future;
use std::sync::OnceLock;

use zongji_sql::Store;
use zongji_tests::postgres;

/// Runs `test` on a new SQLite file and on a new PostgreSQL database.
pub fn both<F: Future<Output = ()>>(test: impl Fn(Store) -> F) {
    let runtime = runtime();
    runtime.block_on(async {
        let folder = tempfile::tempdir().expect("a folder for the database");
        let url = format!("sqlite:{}/deep/below/zongji.db", folder.path().display());
        let store = Store::connect(&url).await.expect("SQLite opens");
        test(store.clone()).await;
        store.close().await;

        let database = fresh_database();
        let store = Store::connect(&database).await.expect("PostgreSQL opens");
        test(store.clone()).await;
        store.close().await;
    });
}

/// The URL of a database that nobody used before, on the run's one server.
pub fn fresh_database() -> String {
    static SERVER: OnceLock<postgres::Server> = OnceLock::new();
    SERVER.get_or_init(postgres::start).fresh_database()
}

pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}
