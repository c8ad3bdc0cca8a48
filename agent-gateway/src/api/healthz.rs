/// `GET /healthz`: the process lives. Asks nothing of anyone.
pub async fn handler() -> &'static str {
    "ok\n"
}
