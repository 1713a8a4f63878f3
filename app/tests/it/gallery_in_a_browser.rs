//! The gallery in headless Chromium: with and without scripts, on a phone and at a desk, in light and dark, by keyboard.

use std::path::PathBuf;

use image::ImageFormat;

use crate::browser::{Browser, DESKTOP, Look, PHONE};
use crate::stack::{Stack, jpeg, picture};

const ESCAPE: char = '\u{E00C}';
const ENTER: char = '\u{E007}';
const LEFT: char = '\u{E012}';
const RIGHT: char = '\u{E014}';

fn file(stack: &Stack, name: &str, bytes: Vec<u8>) -> PathBuf {
    let path = stack.room.path(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, bytes).unwrap();
    path
}

async fn started(scripts: bool) -> Option<(Stack, Browser)> {
    let stack = Stack::start_with(&[
        ("UNDO_SECONDS", "600"),
        ("SERVED_BY", "i-0a1b2c3d/0123456789ab"),
        ("SERVED_IN", "PARTI00"),
    ])
    .await;
    let browser = Browser::start(&stack.room, scripts).await?;
    Some((stack, browser))
}

/// The names in the grid, in order.
async fn tiles(browser: &Browser) -> Vec<String> {
    let names =
        browser.script("return [...document.querySelectorAll('#grid li')].map((tile) => tile.dataset.name)").await;
    names.as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_string()).collect()
}

/// Whether every picture that should be visible by now is really decoded.
async fn pictures_show(browser: &Browser) {
    let script = "return [...document.querySelectorAll('main img')].filter((image) => image.loading !== 'lazy')\
                  .every((image) => image.complete && image.naturalWidth > 0)";
    browser.until("the pictures are shown", async || browser.script(script).await == true).await;
}

async fn uploaded(browser: &Browser, text: &str) {
    browser
        .until(&format!("the uploads say {text}"), async || browser.text_of(".uploads header p").await == text)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dropped_files_and_folders_are_uploaded_with_an_outcome_for_each() {
    let Some((stack, browser)) = started(true).await else { return };
    browser.look(DESKTOP).await;
    browser.open(&stack.server.url("/imagecrud/")).await;
    browser.until_text("No pictures yet").await;
    browser.until_text("Served by i-0a1b2c3d in PARTI00").await;
    let (cat, text) = (file(&stack, "My cat.jpeg", jpeg(1)), file(&stack, "notes.jpg", b"no picture".to_vec()));
    file(&stack, "folder/deep/dog.png", picture(ImageFormat::Png, 2));
    file(&stack, "folder/bird.webp", picture(ImageFormat::WebP, 3));
    file(&stack, "folder/README.md", b"skipped".to_vec());
    browser.drop_files(&[&cat, &stack.room.path("folder"), &text]).await;
    uploaded(&browser, "3 of 4 uploaded, 1 failed").await;
    browser.until_text("this file is not a picture that we keep").await;
    let mut names = tiles(&browser).await;
    names.sort();
    assert_eq!(names, ["My-cat", "bird", "dog"]);
    pictures_show(&browser).await;
    browser.screenshot("uploads").await;

    // The same again is no failure and nothing new; another picture of that name is for a person to decide.
    browser.press("Close").await;
    browser.drop_files(&[&cat]).await;
    uploaded(&browser, "1 of 1 uploaded").await;
    std::fs::write(&cat, jpeg(9)).unwrap();
    let before = stack.server.json("/imagecrud/My-cat").await["sha256"].clone();
    browser.drop_files(&[&cat]).await;
    uploaded(&browser, "1 of 2 uploaded, 1 failed").await;
    assert_eq!(stack.server.json("/imagecrud/My-cat").await["sha256"], before);
    browser.press("Keep both").await;
    uploaded(&browser, "2 of 2 uploaded").await;
    assert_eq!(stack.server.get("/imagecrud/My-cat-2").await.status(), 200);
    std::fs::write(&cat, jpeg(10)).unwrap();
    browser.drop_files(&[&cat]).await;
    browser.press("Replace My-cat").await;
    uploaded(&browser, "3 of 3 uploaded").await;
    assert_ne!(stack.server.json("/imagecrud/My-cat").await["sha256"], before);
    assert_eq!(stack.count("image").await, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn by_keyboard_pictures_are_looked_at_deleted_restored_and_replaced() {
    let Some((stack, browser)) = started(true).await else { return };
    for (seed, name) in ["a", "b", "c"].into_iter().enumerate() {
        stack.server.post(name, jpeg(seed as u8 + 1)).await;
    }
    browser.look(DESKTOP).await;
    browser.open(&stack.server.url("/imagecrud/")).await;
    assert_eq!(tiles(&browser).await, ["c", "b", "a"]);
    let title = async |name: &str| {
        browser.until(name, async || browser.text_of(".lightbox h2 span").await == name).await;
    };
    browser.script("document.querySelector('#grid a').focus()").await;
    browser.key(ENTER).await;
    title("c").await;
    browser.key(RIGHT).await;
    title("b").await;
    browser
        .until("the whole picture is shown", async || {
            browser.script("return document.querySelector('.lightbox img').naturalWidth").await == 400
        })
        .await;
    browser.screenshot("lightbox").await;
    browser.key(RIGHT).await;
    title("a").await;
    browser.key(RIGHT).await;
    browser.key(LEFT).await;
    title("b").await;
    browser.press("Copy address").await;
    browser.until_text("Copied").await;
    browser.key(ESCAPE).await;
    browser.until("the lightbox is closed", async || !browser.has(".lightbox[open]").await).await;
    browser
        .until("the keyboard is where the picture is", async || {
            browser.script("return document.activeElement.getAttribute('href')").await == "b"
        })
        .await;

    browser.key(ENTER).await;
    title("b").await;
    browser.press("Delete").await;
    browser.until_text("b was deleted.").await;
    assert_eq!(tiles(&browser).await, ["c", "a"]);
    assert_eq!(stack.server.get("/imagecrud/b").await.status(), 404);
    browser.screenshot("undo").await;
    // The way back has the focus.
    browser.key(ENTER).await;
    browser.until_text("b is back.").await;
    assert_eq!(tiles(&browser).await, ["c", "b", "a"]);
    assert_eq!(stack.server.get("/imagecrud/b").await.status(), 200);

    // A name that is taken meanwhile is told.
    browser.click("#grid a[href=b]").await;
    title("b").await;
    browser.press("Delete").await;
    browser.until_text("b was deleted.").await;
    stack.server.post("b", jpeg(20)).await;
    browser.press("Undo").await;
    browser.until_text("another picture is named").await;

    let other = file(&stack, "other.png", picture(ImageFormat::Png, 30));
    browser.click("#grid a[href=a]").await;
    title("a").await;
    browser.fill(".lightbox input[type=file]", &other.display().to_string()).await;
    browser
        .until("the picture is replaced", async || {
            stack.server.json("/imagecrud/a").await["content_type"] == "image/png"
        })
        .await;
    browser
        .until("the tile shows the new one", async || {
            let shown = browser.script("return document.querySelector('#grid a[href=a] img').src").await;
            shown == stack.server.json("/imagecrud/a").await["thumbnail"]["url"]
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_works_on_a_phone_without_scripts() {
    let Some((stack, browser)) = started(false).await else { return };
    browser.look(PHONE).await;
    browser.open(&stack.server.url("/imagecrud/")).await;
    for (seed, name) in ["ape", "bee", "cat"].into_iter().enumerate() {
        let path = file(&stack, &format!("{name}.jpeg"), jpeg(seed as u8));
        browser.fill("#file", &path.display().to_string()).await;
        browser.press("Upload").await;
        browser.until("the picture is there", async || browser.has(&format!("a[href={name}]")).await).await;
    }
    browser.screenshot("phone-without-scripts").await;

    // Sort and search by the form, page by plain links.
    browser.click("#sort option[value=name]").await;
    browser.press("Show").await;
    browser.until("it is sorted", async || browser.address().await.contains("sort=name")).await;
    assert_eq!(tiles(&browser).await, ["ape", "bee", "cat"]);
    browser.open(&stack.server.url("/imagecrud/?limit=2")).await;
    assert_eq!(tiles(&browser).await, ["cat", "bee"]);
    browser.click("a[rel=next]").await;
    browser.until("the second page is there", async || browser.address().await.contains("before=")).await;
    assert_eq!(tiles(&browser).await, ["ape"]);
    browser.fill("#q", "BE").await;
    browser.press("Show").await;
    browser.until("it has searched", async || browser.address().await.contains("q=BE")).await;
    assert_eq!(tiles(&browser).await, ["bee"]);

    browser.click("a[href=bee]").await;
    browser.until_text("JPEG · 400 × 300").await;
    pictures_show(&browser).await;
    browser.screenshot("phone-photo").await;
    let other = file(&stack, "other.png", picture(ImageFormat::Png, 9));
    browser.fill("#file", &other.display().to_string()).await;
    browser.press("Replace").await;
    browser.until_text("PNG · 400 × 300").await;
    browser.press("Delete").await;
    browser.until_text("bee was deleted.").await;
    assert_eq!(stack.server.get("/imagecrud/bee").await.status(), 404);
    browser.screenshot("phone-undo").await;
    browser.press("Undo").await;
    browser.until_text("PNG · 400 × 300").await;
    assert_eq!(stack.server.get("/imagecrud/bee").await.status(), 200);

    // Neither does a form of a file's name replace what is there.
    std::fs::write(&other, jpeg(77)).unwrap();
    stack.server.post("other", jpeg(78)).await;
    browser.open(&stack.server.url("/imagecrud/")).await;
    browser.fill("#file", &other.display().to_string()).await;
    browser.press("Upload").await;
    browser.until_text("there is already another picture named").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_page_is_accessible_and_fits_in_light_and_dark() {
    let Some((stack, browser)) = started(true).await else { return };
    for dark in [false, true] {
        browser.look(Look { dark, ..DESKTOP }).await;
        browser.open(&stack.server.url("/imagecrud/")).await;
        browser.screenshot(if dark { "empty-dark" } else { "empty-light" }).await;
        fits_and_is_accessible(&browser, "the empty gallery").await;
    }
    let samples = concat!(env!("CARGO_MANIFEST_DIR"), "/../sample");
    let mut files: Vec<PathBuf> = std::fs::read_dir(samples).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    for path in files.iter().filter(|path| path.extension().is_some_and(|extension| extension == "jpeg")) {
        let name = path.file_stem().unwrap().to_str().unwrap();
        assert_eq!(stack.server.post(name, std::fs::read(path).unwrap()).await.status(), 200, "{name}");
    }
    for (look, looks) in [(DESKTOP, "desktop"), (PHONE, "phone")] {
        for (dark, scheme) in [(false, "light"), (true, "dark")] {
            browser.look(Look { dark, ..look }).await;
            for (path, page) in [
                ("/imagecrud/", "index"),
                ("/imagecrud/?limit=4&sort=name", "page"),
                ("/imagecrud/?q=nothing", "nothing"),
                ("/imagecrud/cat", "photo"),
                ("/imagecrud/nobody", "error"),
            ] {
                browser.open(&stack.server.url(path)).await;
                pictures_show(&browser).await;
                browser.screenshot(&format!("{page}-{looks}-{scheme}")).await;
                fits_and_is_accessible(&browser, &format!("{page} {looks} {scheme}")).await;
            }
            browser.open(&stack.server.url("/imagecrud/")).await;
            browser.click("#grid a[href=coffee]").await;
            browser.until_text("Copy address").await;
            browser
                .until("the picture's facts are there", async || !browser.text_of(".lightbox small").await.is_empty())
                .await;
            browser.screenshot(&format!("lightbox-{looks}-{scheme}")).await;
            fits_and_is_accessible(&browser, &format!("lightbox {looks} {scheme}")).await;
        }
    }
}

async fn fits_and_is_accessible(browser: &Browser, page: &str) {
    let wide =
        browser.script("return document.documentElement.scrollWidth - document.documentElement.clientWidth").await;
    assert_eq!(wide, 0, "{page}: it is wider than the window");
    if let Some(problems) = browser.accessibility_problems().await {
        assert!(problems.is_empty(), "{page}: {problems:#?}");
    }
}
