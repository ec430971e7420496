//! What a dropped future leaves behind in the pool of database connections.

use lumbung_tests::cut;
use lumbung_tests::database::Database;

#[tokio::test]
async fn a_begin_that_was_dropped_half_way_leaves_no_transaction_in_the_pool() {
    let db = Database::create().await;
    let options = lumbung::db::options(&db.url).unwrap();
    let pool = lumbung::db::pool_options(1).connect_with(options).await.unwrap();
    sqlx::raw_sql("CREATE TABLE written (n integer)")
        .execute(&db.pool)
        .await
        .unwrap();
    for polls in 1..=20 {
        drop(cut(pool.begin(), polls).await);
        sqlx::query("INSERT INTO written VALUES ($1)")
            .bind(polls.cast_signed())
            .execute(&pool)
            .await
            .unwrap();
        let seen: i64 = sqlx::query_scalar("SELECT count(*) FROM written")
            .fetch_one(&db.pool)
            .await
            .unwrap();
        assert_eq!(
            seen,
            i64::from(polls),
            "a write after a BEGIN of {polls} polls was not committed"
        );
    }
}
