//! Headless Chromium, driven over the WebDriver protocol (https://www.w3.org/TR/webdriver2/), which is JSON over the HTTP client
//! that is here already. A crate for it (fantoccini) would bring a second ICU along, and change features of crates below the
//! AWS SDKs.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine as _;
use reqwest::Method;
use serde_json::{Value, json};

use crate::room::{MARK, Room, signal};

/// https://www.w3.org/TR/webdriver2/#elements
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";
const LIMIT: Duration = Duration::from_secs(20);

pub(crate) struct Browser {
    driver: Child,
    session: String,
    chromium: u64,
    http: reqwest::Client,
}

#[derive(Clone, Copy)]
pub(crate) struct Look {
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) dark: bool,
}

pub(crate) const DESKTOP: Look = Look { width: 1280, height: 900, dark: false };
pub(crate) const PHONE: Look = Look { width: 375, height: 740, dark: false };

impl Browser {
    /// None, with a reason, where there is no Chromium.
    pub(crate) async fn start(room: &Room, scripts: bool) -> Option<Self> {
        let spawned = Command::new("chromedriver")
            .arg("--port=0")
            .env(MARK, room.dir())
            .env("HOME", room.dir())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn();
        let Ok(mut driver) = spawned else {
            eprintln!("skipped: no chromedriver (Debian packages chromium and chromium-driver)");
            return None;
        };
        room.remember(driver.id());
        let mut lines = BufReader::new(driver.stdout.take().unwrap()).lines().map_while(Result::ok);
        let started = lines.find_map(|line| line.split_once("successfully on port ").map(|(_, port)| port.to_string()));
        let port = started.expect("chromedriver says its port");
        let port = port.trim_end_matches('.');
        std::thread::spawn(move || lines.for_each(drop));
        let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(60)).build().unwrap();
        let mut browser = Self { driver, session: String::new(), chromium: 0, http };
        // Containers have no user namespaces to spare, and a small /dev/shm.
        let arguments = [
            "--headless=new",
            "--no-sandbox",
            "--disable-dev-shm-usage",
            "--disable-gpu",
            "--no-first-run",
            "--disable-background-networking",
            "--no-proxy-server",
        ];
        let profile = format!("--user-data-dir={}", room.path(&format!("chromium-{port}")).display());
        let arguments: Vec<&str> = arguments.into_iter().chain([profile.as_str()]).collect();
        let preferences =
            if scripts { json!({}) } else { json!({"profile.managed_default_content_settings.javascript": 2}) };
        let wanted = json!({"capabilities": {"alwaysMatch": {
            "goog:chromeOptions": {"args": arguments, "prefs": preferences},
        }}});
        let server = format!("http://127.0.0.1:{port}/session");
        let made = browser.ask(Method::POST, &server, Some(wanted)).await;
        let made = match made {
            Ok(made) => made,
            Err(error) if error.contains("cannot find Chrome binary") => {
                eprintln!("skipped: no Chromium (Debian package chromium)");
                return None;
            }
            Err(error) => panic!("starting Chromium: {error}"),
        };
        browser.session = format!("{server}/{}", made["sessionId"].as_str().unwrap());
        browser.chromium = made["capabilities"]["goog:processID"].as_u64().unwrap_or_default();
        if browser.chromium != 0 {
            room.remember(browser.chromium as u32);
        }
        Some(browser)
    }

    async fn ask(&self, method: Method, url: &str, body: Option<Value>) -> Result<Value, String> {
        let request = self.http.request(method, url);
        let request = if let Some(body) = body { request.json(&body) } else { request };
        let response = request.send().await.map_err(|error| error.to_string())?;
        let failed = !response.status().is_success();
        let text = response.text().await.map_err(|error| error.to_string())?;
        let mut answer: Value = serde_json::from_str(&text).map_err(|error| error.to_string())?;
        if failed { Err(answer["value"]["message"].to_string()) } else { Ok(answer["value"].take()) }
    }

    async fn get(&self, path: &str) -> Value {
        self.ask(Method::GET, &format!("{}{path}", self.session), None).await.unwrap()
    }

    async fn post(&self, path: &str, body: Value) -> Result<Value, String> {
        self.ask(Method::POST, &format!("{}{path}", self.session), Some(body)).await
    }

    /// A command of Chromium's own protocol (https://chromedevtools.github.io/devtools-protocol/).
    async fn command(&self, command: &str, parameters: Value) {
        self.post("/goog/cdp/execute", json!({"cmd": command, "params": parameters})).await.unwrap();
    }

    pub(crate) async fn look(&self, look: Look) {
        let Look { width, height, dark } = look;
        self.command(
            "Emulation.setDeviceMetricsOverride",
            json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}),
        )
        .await;
        let scheme = if dark { "dark" } else { "light" };
        let features = json!([{"name": "prefers-color-scheme", "value": scheme}]);
        self.command("Emulation.setEmulatedMedia", json!({"features": features})).await;
    }

    pub(crate) async fn open(&self, url: &str) {
        self.post("/url", json!({"url": url})).await.unwrap();
    }

    pub(crate) async fn address(&self) -> String {
        self.get("/url").await.as_str().unwrap().to_string()
    }

    /// The text of the whole page, as it is shown.
    pub(crate) async fn text(&self) -> String {
        self.text_of("body").await
    }

    pub(crate) async fn text_of(&self, css: &str) -> String {
        match self.find(css).await {
            Some(element) => self
                .ask(Method::GET, &format!("{}/element/{element}/text", self.session), None)
                .await
                .map(|text| text.as_str().unwrap_or_default().to_string())
                .unwrap_or_default(),
            None => String::new(),
        }
    }

    async fn find(&self, css: &str) -> Option<String> {
        let found = self.post("/element", json!({"using": "css selector", "value": css})).await.ok()?;
        found[ELEMENT].as_str().map(str::to_string)
    }

    pub(crate) async fn has(&self, css: &str) -> bool {
        self.find(css).await.is_some()
    }

    async fn element(&self, css: &str) -> String {
        self.until(&format!("there is {css}"), async || self.has(css).await).await;
        self.find(css).await.unwrap()
    }

    pub(crate) async fn click(&self, css: &str) {
        let element = self.element(css).await;
        self.post(&format!("/element/{element}/click"), json!({}))
            .await
            .unwrap_or_else(|error| panic!("clicking {css}: {error}"));
    }

    /// The button with this text.
    pub(crate) async fn press(&self, text: &str) {
        let path = format!("//button[normalize-space()='{text}']");
        let find = || self.post("/element", json!({"using": "xpath", "value": path}));
        self.until(&format!("there is a button {text}"), async || find().await.is_ok()).await;
        let element = find().await.unwrap()[ELEMENT].as_str().unwrap().to_string();
        self.post(&format!("/element/{element}/click"), json!({}))
            .await
            .unwrap_or_else(|error| panic!("pressing {text}: {error}"));
    }

    /// Types into a field; a path into a file field chooses it.
    pub(crate) async fn fill(&self, css: &str, text: &str) {
        let element = self.element(css).await;
        self.post(&format!("/element/{element}/value"), json!({"text": text}))
            .await
            .unwrap_or_else(|error| panic!("filling {css}: {error}"));
    }

    /// A key of the keyboard, wherever the focus is (https://www.w3.org/TR/webdriver2/#keyboard-actions).
    pub(crate) async fn key(&self, key: char) {
        let actions =
            json!([{"type": "keyDown", "value": key.to_string()}, {"type": "keyUp", "value": key.to_string()}]);
        self.post("/actions", json!({"actions": [{"type": "key", "id": "keyboard", "actions": actions}]}))
            .await
            .unwrap();
    }

    pub(crate) async fn script(&self, script: &str) -> Value {
        self.post("/execute/sync", json!({"script": script, "args": []}))
            .await
            .unwrap_or_else(|error| panic!("{script}: {error}"))
    }

    /// Drops files and folders as a file manager does.
    pub(crate) async fn drop_files(&self, files: &[&Path]) {
        let data = json!({"items": [], "files": files, "dragOperationsMask": 1});
        for step in ["dragEnter", "dragOver", "drop"] {
            self.command("Input.dispatchDragEvent", json!({"type": step, "x": 200, "y": 300, "data": data})).await;
        }
    }

    /// Waits for a condition, with a limit.
    pub(crate) async fn until(&self, what: &str, mut condition: impl AsyncFnMut() -> bool) {
        let deadline = Instant::now() + LIMIT;
        while !condition().await {
            if Instant::now() >= deadline {
                let page =
                    self.post("/execute/sync", json!({"script": "return document.body.innerText", "args": []})).await;
                panic!("waited {LIMIT:?} in vain until: {what}; the page: {page:?}");
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    pub(crate) async fn until_text(&self, text: &str) {
        self.until(&format!("the page says {text:?}"), async || self.text().await.contains(text)).await;
    }

    /// What axe-core finds wrong with the page; none, with a reason, where it is not installed.
    pub(crate) async fn accessibility_problems(&self) -> Option<Vec<String>> {
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
        let Ok(axe) = std::fs::read_to_string(target.join("axe/node_modules/axe-core/axe.min.js")) else {
            eprintln!("skipped: no axe-core; scripts/axe-core.sh installs it");
            return None;
        };
        let script = format!(
            "{axe};const done = arguments[0]; axe.run().then((found) => done(found.violations.map((problem) => problem.id + ': ' + \
             problem.help + ' at ' + problem.nodes.map((node) => node.html).join(' '))), (error) => done([String(error)]));"
        );
        let found = self.post("/execute/async", json!({"script": script, "args": []})).await.unwrap();
        Some(found.as_array().unwrap().iter().map(|problem| problem.as_str().unwrap().to_string()).collect())
    }

    /// Keeps what is shown as a PNG in the folder IMAGECRUD_SCREENSHOTS, where that is set.
    pub(crate) async fn screenshot(&self, name: &str) {
        let Some(folder) = std::env::var_os("IMAGECRUD_SCREENSHOTS").map(PathBuf::from) else { return };
        let png = self.get("/screenshot").await;
        let png = base64::engine::general_purpose::STANDARD.decode(png.as_str().unwrap()).unwrap();
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(format!("{name}.png")), png).unwrap();
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.driver.kill();
        let _ = self.driver.wait();
        if self.chromium != 0 {
            signal(&self.chromium.to_string(), "KILL");
        }
    }
}
