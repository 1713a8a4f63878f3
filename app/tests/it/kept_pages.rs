//! Pages of the index are kept, and yet nobody ever sees one that is older than the last answer they got.

use futures::future::join_all;
use imagecrud::config::Config;
use imagecrud::database::{Database, Source};
use imagecrud::object_store::ObjectStore;
use imagecrud::photos_db::{Cursor, Listing, Order, PhotosDb};
use tokio_util::sync::CancellationToken;

use crate::stack::{Stack, jpeg, serving, small_png};

/// Names on a page, as it is written for people and for programs.
async fn shown(server: &crate::server::Server, query: &str) -> Vec<Vec<String>> {
    let path = format!("/imagecrud/{query}");
    let html = server.get_as(&path, "text/html").await.text().await.unwrap();
    let html = html.split("<li data-name=\"").skip(1).map(|rest| rest.split('"').next().unwrap().to_string()).collect();
    let json = server.json(&path).await;
    let json = json["pictures"].as_array().unwrap().iter().map(|picture| picture["name"].as_str().unwrap().to_string());
    vec![html, json.collect()]
}

/// How many statements the database has executed.
async fn statements(stack: &Stack) -> i64 {
    let mut connection = stack.database.connect().await;
    let (_, count): (String, String) =
        sqlx::query_as("SHOW GLOBAL STATUS LIKE 'Com_stmt_execute'").fetch_one(&mut connection).await.unwrap();
    count.parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_changed_through_another_server_is_on_the_next_page() {
    let stack = Stack::start_with(&[("THUMBNAILS", "false"), ("UNDO_SECONDS", "300")]).await;
    let other = stack.another_server(&[("UNDO_SECONDS", "300")]);
    serving(&other).await;
    let queries = ["", "?sort=name", "?sort=oldest&limit=200", "?q=ca"];
    let everywhere = async |expected: &[&str], when: &str| {
        for query in queries {
            for names in shown(&stack.server, query).await {
                let mut names: Vec<&str> = names.iter().map(String::as_str).collect();
                names.sort_unstable();
                assert_eq!(names, expected, "{when}: {query}");
            }
        }
    };
    everywhere(&[], "nothing").await;
    for round in 0..5u8 {
        assert_eq!(other.post("cat", small_png(round)).await.status(), 200);
        everywhere(&["cat"], "an upload").await;
        assert_eq!(other.post("cart", small_png(round)).await.status(), 200);
        everywhere(&["cart", "cat"], "another").await;
        let before = stack.server.json("/imagecrud/").await;
        assert_eq!(other.post("cat", small_png(100 + round)).await.status(), 200);
        let html = stack.server.get_as("/imagecrud/", "text/html").await.text().await.unwrap();
        let after = stack.server.json("/imagecrud/").await;
        for (index, replaced) in [(0, false), (1, true)] {
            let [before, after] =
                [&before, &after].map(|page| page["pictures"][index]["thumbnail"]["url"].as_str().unwrap());
            let key = |url: &str| url.split('?').next().unwrap().to_string();
            assert_eq!(key(before) != key(after), replaced, "a replacement");
            assert!(html.contains(&key(after)), "{html}");
        }
        let asked = other.request(reqwest::Method::DELETE, "/imagecrud/cat").header("accept", "application/json");
        let deleted: serde_json::Value =
            serde_json::from_slice(&asked.send().await.unwrap().bytes().await.unwrap()).unwrap();
        everywhere(&["cart"], "a deletion").await;
        assert_eq!(other.post_raw(deleted["undo"].as_str().unwrap(), &[], "").await.status(), 200);
        everywhere(&["cart", "cat"], "a restoration").await;
        for name in ["cat", "cart"] {
            assert_eq!(other.delete(name).await.status(), 200);
        }
        everywhere(&[], "all is deleted").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn among_many_readers_each_sees_what_was_there_when_it_asked() {
    let stack = Stack::start_with(&[("THUMBNAILS", "false")]).await;
    let other = stack.another_server(&[("THUMBNAILS", "false")]);
    serving(&other).await;
    let (kept, done) = (std::sync::atomic::AtomicUsize::new(0), std::sync::atomic::AtomicBool::new(false));
    let readers = (0..16).map(|_| async {
        let mut pages = 0;
        while !done.load(std::sync::atomic::Ordering::SeqCst) {
            let least = kept.load(std::sync::atomic::Ordering::SeqCst);
            let page = stack.server.get_as("/imagecrud/", "text/html").await.text().await.unwrap();
            let there = page.matches("<li ").count();
            assert!(there >= least, "{least} were acknowledged, {there} are shown");
            pages += 1;
        }
        pages
    });
    let writer = async {
        for at in 1..=60u8 {
            assert_eq!(other.post(&format!("p{at}"), small_png(at)).await.status(), 200);
            kept.store(at.into(), std::sync::atomic::Ordering::SeqCst);
        }
        done.store(true, std::sync::atomic::Ordering::SeqCst);
    };
    let (pages, ()) = tokio::join!(join_all(readers), writer);
    println!("{} pages beside 60 uploads through another server, none too old", pages.iter().sum::<i32>());
}

#[tokio::test(flavor = "multi_thread")]
async fn many_who_ask_at_once_cost_the_database_less_than_a_look_each() {
    let stack = Stack::start_with(&[("SWEEP_INTERVAL_SECONDS", "600")]).await;
    assert_eq!(stack.server.post("cat", jpeg(1)).await.status(), 200);
    assert_eq!(stack.server.get("/imagecrud/").await.status(), 200);
    let before = statements(&stack).await;
    let asked = 400;
    let statuses =
        join_all((0..asked).map(|_| async { stack.server.get("/imagecrud/").await.status().as_u16() })).await;
    assert!(statuses.iter().all(|status| *status == 200));
    let looks = statements(&stack).await - before;
    assert!(looks >= 1 && looks < asked / 2, "{looks} looks for {asked} requests");
    println!("{asked} requests, {looks} looks");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_database_no_kept_page_is_given() {
    let mut stack = Stack::start().await;
    assert_eq!(stack.server.post("cat", jpeg(1)).await.status(), 200);
    assert_eq!(stack.server.get("/imagecrud/").await.status(), 200);
    stack.database.kill();
    let started = std::time::Instant::now();
    let statuses = join_all((0..100).map(|_| async { stack.server.get("/imagecrud/").await.status().as_u16() })).await;
    assert!(statuses.iter().all(|status| *status == 503), "{statuses:?}");
    assert!(started.elapsed() < std::time::Duration::from_secs(6), "{:?}", started.elapsed());
    stack.database.run().await;
    serving(&stack.server).await;
    assert_eq!(shown(&stack.server, "").await, [["cat"], ["cat"]]);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_and_a_look_at_them_tell_the_same_version_whatever_the_names() {
    let stack = Stack::start().await;
    let mut connection = stack.database.connect().await;
    let names = ["cat", "Cat", "c\u{e1}t", "写真", "\u{1d4b3}", "😀/'\"%_\\", "дом", "ﬃ", "ß", "ss", " ", "\u{0}x"];
    for (at, name) in names.iter().enumerate() {
        sqlx::query("INSERT INTO image (name, okey, tkey, ctype, bytes, w, h, sha256, created, updated) VALUES (?, ?, ?, 'image/png', ?, 3, 4, ?, '2026-01-02 03:04:05.678', '2026-01-02 03:04:05')")
            .bind(name)
            .bind(format!("p/{at}"))
            .bind((at % 2 == 0).then(|| format!("t/{at}")))
            .bind(u64::MAX - at as u64)
            .bind([at as u8; 32].as_slice())
            .execute(&mut connection)
            .await
            .unwrap();
    }
    let variables = [("DATABASE_URL", stack.database.url()), ("S3_BUCKET", "b".into()), ("AWS_REGION", "r".into())];
    let config =
        Config::from_variables(|name| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| value.clone()));
    let config = config.unwrap();
    let store = ObjectStore::connect(&config.object_store).await.unwrap();
    let (database, _) = Database::start(Source::new(&config.database, &store), 2, CancellationToken::new());
    let db = PhotosDb::new(database, config.sweep_grace, config.upload_intent, config.undo_grace);
    let mut seen = std::collections::HashSet::new();
    for order in [Order::Newest, Order::Oldest, Order::Name] {
        for (prefix, limit) in [("", 100), ("", 5), ("c", 100), ("😀", 3), ("none has it", 7)] {
            for behind in [None, Some(Cursor::behind(4, "写真", order))] {
                let listing = Listing { order, prefix: prefix.into(), behind: behind.clone(), limit };
                let (rows, shown) = db.list_shown(&listing).await.unwrap();
                assert_eq!(db.version_shown(&listing).await.unwrap(), shown, "{listing:?}");
                let (photos, all) = db.list(&listing).await.unwrap();
                assert_eq!(db.version(&listing).await.unwrap(), all, "{listing:?}");
                assert_eq!(photos.len(), rows.len());
                let ids: std::collections::BTreeSet<u64> = rows.iter().map(|row| row.id).collect();
                seen.insert((ids, format!("{shown:?}")));
            }
        }
    }
    let pages: std::collections::HashSet<_> = seen.iter().map(|(ids, _)| ids).collect();
    let versions: std::collections::HashSet<_> = seen.iter().map(|(_, version)| version).collect();
    assert!(pages.len() > 5);
    assert_eq!((seen.len(), versions.len()), (pages.len(), pages.len()), "other rows, another version");
    // Whatever is shown counts.
    let listing = Listing { limit: 100, ..Listing::default() };
    for change in ["w = 5", "h = 9", "name = 'dog'", "tkey = 't/new'", "tkey = NULL"] {
        let before = (db.version_shown(&listing).await.unwrap(), db.version(&listing).await.unwrap());
        let sql = format!("UPDATE image SET {change} WHERE name IN ('cat', 'dog')");
        sqlx::query(sqlx::AssertSqlSafe(sql)).execute(&mut connection).await.unwrap();
        let after = (db.version_shown(&listing).await.unwrap(), db.version(&listing).await.unwrap());
        assert!(before.0 != after.0 && before.1 != after.1, "{change}");
    }
}
