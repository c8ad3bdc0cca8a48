use std::future::Future;

use zongji_sql::Store;

use crate::postgres;

/// Runs `test` on a new SQLite file and on a new PostgreSQL database.
pub fn both<F: Future<Output = ()>>(test: impl Fn(Store) -> F) {
    let runtime = runtime();
    runtime.block_on(async {
        let folder = tempfile::tempdir().expect("a folder for the database");
        let url = format!("sqlite:{}/deep/below/zongji.db", folder.path().display());
        let store = Store::connect(&url).await.expect("SQLite opens");
        test(store.clone()).await;
        store.close().await;

        let database = postgres::fresh_database();
        let store = Store::connect(&database).await.expect("PostgreSQL opens");
        test(store.clone()).await;
        store.close().await;
    });
}

pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}
