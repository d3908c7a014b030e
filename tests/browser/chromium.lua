-- chromium.lua -- a real Chromium without a window, for tests of pages.
--
-- Each browser is a process of its own with a fresh profile, and has one window at a time. It is
-- driven by Chromium's own protocol (https://chromedevtools.github.io/devtools-protocol/) over the
-- tests' own WebSocket client: text is typed, the mouse is clicked, and what the page thinks is
-- asked by JavaScript. It can reach 127.0.0.1 and nothing else. Owns the process and its folder.
-- Knows no particular page.
--
--     local browser <close> = chromium.start()
--     browser:open("http://127.0.0.1:8080/")
--     browser:type("#name", "ada"):press("Enter")
--     browser:wait("document.title === 'Chat'")

local cjson = require "cjson"
local client = require "support.client"
local loop = require "support.loop"
local process = require "support.process"

local NAMES = { "chromium", "google-chrome-stable" }

local SWITCHES = {
  "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-dev-shm-usage",
  "--no-first-run", "--no-default-browser-check", "--disable-background-networking",
  "--disable-component-update", "--disable-sync", "--disable-extensions", "--disable-breakpad",
  "--mute-audio", "--hide-scrollbars", "--force-color-profile=srgb", "--ignore-certificate-errors",
  "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE 127.0.0.2",
  "--remote-debugging-port=0",
}

-- Starting takes seconds, and more on a busy machine.
local START_PATIENCE = 2 * loop.patience

---@class browser.chromium
---@field problems string[] the page's problems: uncaught errors, console.error,
---  alerts, files that are not there, what its Content-Security-Policy forbids
---@field directory string its folder
local Browser = {}
Browser.__index = Browser
Browser.__name = "browser.chromium"

local chromium = {}

--- The path of an installed Chromium, or nil. None with TIDEWIRE_TEST_BROWSER=no, as `scripts/test
--- --no-browser` has it.
---@return string?
function chromium.find()
  if os.getenv("TIDEWIRE_TEST_BROWSER") == "no" then return nil end
  for _, name in ipairs(NAMES) do
    local path = process.find(name)
    if path then return path end
  end
end

--- Why there is no browser; such tests are skipped. ctest recognises them by the word "without".
---@return string
function chromium.missing()
  if os.getenv("TIDEWIRE_TEST_BROWSER") == "no" then
    return "is not tried without a browser (--no-browser)"
  end
  return "is not tried without a browser: chromium is not installed (scripts/install browsers)"
end

-- Notes what a page complains of.
local function on_event(self, event)
  local params = event.params
  if event.method == "Runtime.exceptionThrown" then
    local details = params.exceptionDetails
    self.problems[#self.problems + 1] = details.exception and details.exception.description
      or details.text
  elseif event.method == "Runtime.consoleAPICalled"
    and (params.type == "error" or params.type == "assert") then
    self.problems[#self.problems + 1] = "console: " .. cjson.encode(params.args)
  elseif event.method == "Page.javascriptDialogOpening" then
    self.problems[#self.problems + 1] = "a dialog: " .. params.message
    self:send_command("Page.handleJavaScriptDialog", { accept = true })
  elseif event.method == "Log.entryAdded" and params.entry.level == "error" then
    -- (the page handles a WebSocket that cannot connect)
    if not params.entry.text:find("^WebSocket") then
      self.problems[#self.problems + 1] = params.entry.text
    end
  elseif event.method == "Inspector.targetCrashed" then
    error("the page has crashed")
  end
end

-- Sends a command and waits for nothing.
function Browser:send_command(method, params)
  self.last_id = self.last_id + 1
  local text =
    cjson.encode({ id = self.last_id, method = method, params = params, sessionId = self.session })
  -- cjson has no empty list
  self.peer:send_text((text:gsub('"touchPoints":{}', '"touchPoints":[]')))
  return self.last_id
end

--- Send a command of Chromium's protocol and wait for what it answers. Its error is thrown.
---@param method string
---@param params table?
---@param seconds number?
---@return table result
function Browser:call(method, params, seconds)
  local id = self:send_command(method, params)
  local deadline = loop.now() + (seconds or START_PATIENCE)
  while true do
    local text, kind, code = self.peer:receive(deadline - loop.now())
    if not text then
      error(("Chromium did not answer %s: %s %s"):format(method, kind, code or ""), 2)
    end
    local answer = cjson.decode(text)
    if answer.method then
      -- (a window that was left may go on for a while)
      if answer.sessionId == self.session then on_event(self, answer) end
    elseif answer.id == id then
      if answer.error then error(method .. ": " .. answer.error.message, 2) end
      return answer.result
    end
  end
end

-- Where it takes commands: it writes a port and a path into its folder when it is ready.
local function debugging_url(self)
  local found = loop.wait_until(function()
    local text = process.read_file(self.directory .. "/profile/DevToolsActivePort") or ""
    local port, path = text:match("^(%d+)\n(/%S+)")
    return port and ("ws://127.0.0.1:%s%s"):format(port, path) or self.process.exit_code and "ended"
  end, START_PATIENCE)
  if found and found ~= "ended" then return found end
  error("Chromium did not start; it said:\n"
    .. (process.read_file(self.directory .. "/stderr") or ""), 0)
end

--- Open an empty window that remembers nothing, in place of the one before.
---@return browser.chromium self
function Browser:reset()
  self.session = nil -- what follows is for the browser, not for a window
  if self.context then
    self:send_command("Target.disposeBrowserContext", { browserContextId = self.context })
  end
  self.problems = {}
  self.context = self:call("Target.createBrowserContext").browserContextId
  local target = self:call("Target.createTarget",
    { url = "about:blank", browserContextId = self.context }).targetId
  self.session = self:call("Target.attachToTarget", { targetId = target, flatten = true }).sessionId
  for _, domain in ipairs({ "Page", "Runtime", "Log", "Inspector" }) do
    self:call(domain .. ".enable")
  end
  self:resize(1280, 800)
  return self
end

--- Start a browser with an empty window.
---@return browser.chromium
function chromium.start()
  local folder = process.make_directory()
  local self = setmetatable({ directory = folder, problems = {}, last_id = 0 }, Browser)
  local args = table.move(SWITCHES, 1, #SWITCHES, 1, {})
  args[#args + 1] = "--user-data-dir=" .. folder .. "/profile"
  args[#args + 1] = "about:blank"
  self.process = process.start(assert(chromium.find(), "there is no Chromium"), {
    args = args,
    directory = folder,
    environment = {
      HOME = folder, TMPDIR = folder, XDG_CONFIG_HOME = folder, XDG_CACHE_HOME = folder,
    },
    stdout = folder .. "/stdout",
    stderr = folder .. "/stderr",
  })
  local ready, problem = pcall(function()
    self.peer = assert(client.connect(debugging_url(self)))
    self:reset()
  end)
  if not ready then
    self:kill()
    error(problem, 2)
  end
  return self
end

--- The size of the window, in CSS pixels.
---@param width integer
---@param height integer
function Browser:resize(width, height)
  self:call("Emulation.setDeviceMetricsOverride", {
    width = width, height = height, deviceScaleFactor = 1, mobile = width < 700,
  })
end

--- Prefer a light or a dark page.
---@param scheme "light"|"dark"
function Browser:prefer(scheme)
  self:call("Emulation.setEmulatedMedia",
    { features = { { name = "prefers-color-scheme", value = scheme } } })
end

--- Go to an address, and wait until the page is loaded.
---@param url string
---@return browser.chromium self
function Browser:open(url)
  local result = self:call("Page.navigate", { url = url })
  if result.errorText then error(("cannot open %s: %s"):format(url, result.errorText), 2) end
  return self:wait(("location.href.startsWith(%s) && document.readyState === 'complete'")
    :format(cjson.encode(url)))
end

--- The value of a JavaScript expression. Its error is thrown.
---@param expression string
---@param seconds number?
---@return any value as JSON has it; nil for undefined
function Browser:eval(expression, seconds)
  local answer = self:call("Runtime.evaluate", {
    expression = expression, returnByValue = true, awaitPromise = true, userGesture = true,
  }, seconds)
  local details = answer.exceptionDetails
  if details then
    error(("%s: %s")
      :format(expression, details.exception and details.exception.description or details.text), 2)
  end
  return answer.result.value
end

local WAIT = [[new Promise((resolve) => {
  const end = performance.now() + %d;
  const look = () => {
    let value;
    try { value = %s; } catch (error) { value = null; }
    if (value || performance.now() > end) resolve(value); else setTimeout(look, 20);
  };
  look();
})]]

--- Wait until a JavaScript expression is true; while it throws, it is not. Throws when the time is
--- over.
---@param expression string
---@param seconds number?
---@return browser.chromium self
function Browser:wait(expression, seconds)
  seconds = seconds or loop.patience
  local script = WAIT:format(math.floor(seconds * 1000), expression)
  local deadline = loop.now() + seconds
  local ok, value
  repeat -- (a page that is left answers with an error)
    ok, value = pcall(self.eval, self, script, seconds + START_PATIENCE)
  until ok or loop.now() > deadline
  if ok and value and value ~= cjson.null then return self end
  local _, shown = pcall(self.eval, self, "document.body.innerText")
  error(("in vain: %s\nthe page shows:\n%s\nits problems: %s"):format(
    expression, tostring(shown), table.concat(self.problems, "\n")), 2)
end

local CENTRE = [[(() => {
  const found = document.querySelector(%s);
  found.scrollIntoView({ block: "nearest" });
  const box = found.getBoundingClientRect();
  const [x, y] = [box.left + box.width / 2, box.top + box.height / 2];
  const hit = document.elementFromPoint(x, y);
  if (!found.contains(hit)) throw new Error("covered by " + (hit && hit.outerHTML.slice(0, 100)));
  return { x, y };
})()]]

--- Click an element with the mouse, in its middle. Throws if something else is there.
---@param selector string
---@return browser.chromium self
function Browser:click(selector)
  local point = self:eval(CENTRE:format(cjson.encode(selector)))
  for _, kind in ipairs({ "mousePressed", "mouseReleased" }) do
    self:call("Input.dispatchMouseEvent",
      { type = kind, x = point.x, y = point.y, button = "left", clickCount = 1 })
  end
  return self
end

--- Put fingers on the window, move them, or take them off.
---@param kind "touchStart"|"touchMove"|"touchEnd"
---@param fingers { x: number, y: number, id: integer }[] all that touch it now; none with
---  "touchEnd"
---@return browser.chromium self
function Browser:touch(kind, fingers)
  self:call("Input.dispatchTouchEvent", { type = kind, touchPoints = fingers })
  return self
end

--- Click into an element, and type text in place of what stands there.
---@param selector string
---@param text string
---@return browser.chromium self
function Browser:type(selector, text)
  self:click(selector)
  self:eval("document.activeElement.select()")
  self:call("Input.insertText", { text = text })
  return self
end

local KEYS = {
  Enter = { key = "Enter", code = "Enter", windowsVirtualKeyCode = 13, text = "\r" },
  Escape = { key = "Escape", code = "Escape", windowsVirtualKeyCode = 27 },
  Tab = { key = "Tab", code = "Tab", windowsVirtualKeyCode = 9 },
}

--- Press and release a key.
---@param name "Enter"|"Escape"|"Tab"
---@return browser.chromium self
function Browser:press(name)
  for _, kind in ipairs({ "keyDown", "keyUp" }) do
    local event = { type = kind }
    for field, value in pairs(KEYS[name]) do event[field] = value end
    if kind == "keyUp" then event.text = nil end
    self:call("Input.dispatchKeyEvent", event)
  end
  return self
end

--- Write what can be seen into a PNG file.
---@param path string
function Browser:screenshot(path)
  local answer = self:call("Page.captureScreenshot", { format = "png" })
  local alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
  local value_of = {}
  for index = 1, 64 do value_of[alphabet:byte(index)] = index - 1 end
  local bytes = answer.data:gsub("(.)(.)(.)(.)", function(a, b, c, d)
    local bits =
      value_of[a:byte()] << 18 | value_of[b:byte()] << 12 | (value_of[c:byte()] or 0) << 6
        | (value_of[d:byte()] or 0)
    local count = d ~= "=" and 3 or c ~= "=" and 2 or 1
    return (string.pack(">I3", bits):sub(1, count))
  end)
  process.write_file(path, bytes)
end

-- Removes the folder. A helper process of the browser's may outlive it by a moment, and write
-- there.
local function remove_folder(self)
  loop.wait_until(function()
    local keep = os.getenv("TIDEWIRE_TEST_KEEP")
    return keep or os.execute("rm -rf '" .. self.directory .. "/profile' 2> /dev/null")
  end)
  process.remove_directory(self.directory)
end

--- End it without asking.
function Browser:kill()
  self.stopped = true
  self.process:signal("sigkill")
  self.process:wait_exit()
  remove_folder(self)
end

--- End it. Idempotent.
function Browser:stop()
  if self.stopped then return end
  self.stopped = true
  self.process:signal("sigterm")
  if not self.process:wait_exit() then self.process:signal("sigkill") end
  self.process:wait_exit()
  remove_folder(self)
end

Browser.__close = Browser.stop

return chromium
