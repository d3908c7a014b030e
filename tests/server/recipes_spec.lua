-- recipes_spec.lua -- the code of docs/recipes.md does what the page says.
-- recipes_outside_spec.lua has the recipes with other servers and libraries.

local certificates = require "support.certificates"
local client = require "support.client"
local process = require "support.process"
local recipes = require "support.recipes"
local server = require "support.server"
local stream = require "support.stream"
local uv = require "luv"

describe("docs/recipes.md", function()
  after_each(stream.close_all)

  it("send to a user", function()
    local app <close> = recipes.start("Send to a user")
    local phone, laptop = app:connect("/chat?name=ada"), app:connect("/chat?name=ada")
    local bob = app:connect("/chat?name=bob")
    for _, peer in ipairs({ phone, laptop, bob }) do -- an answer shows that it has joined
      assert.equal([[{"error":"send {\"to\":\"ada\",\"text\":\"hello\"}"}]], (peer:ask("1")))
    end
    assert.equal('{"delivered":false}', (bob:ask('{"to":"eve","text":"hello"}')))
    assert.equal('{"delivered":true}', (bob:ask('{"to":"ada","text":"hello"}')))
    local function receive_json(peer) return require("cjson").decode((peer:receive())) end
    for _, peer in ipairs({ phone, laptop }) do
      assert.same({ from = "bob", text = "hello" }, receive_json(peer))
    end
    assert.equal('{"reached":2}',
      app:http({ path = "/tell/ada", method = "POST", body = "dinner" }).body)
    for _, peer in ipairs({ phone, laptop }) do
      assert.same({ from = "house", text = "dinner" }, receive_json(peer))
    end
    assert.equal(4400, (app:connect("/chat"):wait_closed()))
  end)

  it("kick a user", function()
    local app <close> = recipes.start("Kick a user", nil, { ADMIN_TOKEN = "secret" })
    local ada = app:connect("/chat?name=ada")
    assert.equal("ada: hello", (ada:ask("hello"))) -- so she is in the room
    local bob = app:connect("/chat?name=bob")
    assert.equal("bob: hello", (bob:ask("hello")))
    assert.equal("bob: hello", (ada:receive()))
    local function kick(token)
      return app:http({
        path = "/kick/bob", method = "POST", headers = { Authorization = "Bearer " .. token },
      })
    end
    assert.equal(401, kick("guess").status)
    local answer = kick("secret")
    assert.same({ 200, '{"kicked":1}' }, { answer.status, answer.body })
    assert.same({ 4003, "kicked" }, { bob:wait_closed() })
    assert.same({ 4403, "not for now" }, { app:connect("/chat?name=bob"):wait_closed() })
    assert.equal(400, select(2, client.connect(app:url("/chat"))))
    assert.equal("ada: still here", (ada:ask("still here")))
  end)

  it("authenticate a browser", function()
    local app <close> = recipes.start("Authenticate a browser",
      { ["public/index.html"] = "hello" }, { SESSION_KEY = ("0123456789abcdef"):rep(4) })
    assert.equal(200, app:http("/login.js").status)
    local function log_in(password)
      local body = ('{"name":"ada","password":"%s"}'):format(password)
      return app:http({ path = "/login", method = "POST", body = body })
    end
    assert.equal(401, log_in("guess").status)
    assert.equal(401, app:http({ path = "/login", method = "POST", body = "[[" }).status)
    local answer = log_in("lovelace")
    assert.equal(204, answer.status)
    local set = answer.headers["set-cookie"]
    assert.is_truthy(set:find("; HttpOnly; SameSite=Strict", 1, true))
    local function enter(cookie, origin)
      return client.connect(app:url("/ws"), { headers = { Cookie = cookie, Origin = origin } })
    end
    local cookie = set:match("^[^;]+")
    assert.equal("hello, ada", (assert(enter(cookie, "http://localhost")):receive()))
    for _, wrong in ipairs({ "session=guess", cookie .. "x", "other=1" }) do
      assert.same({ 4401, "log in first" },
        { assert(enter(wrong, "http://localhost")):wait_closed() })
    end
    assert.equal(403, select(2, enter(cookie, "https://evil.example")))
  end)

  it("limit the rate of messages", function()
    local app <close> = recipes.start("Limit the rate of messages")
    local ada = app:connect("/")
    for number = 1, 20 do assert.equal(tostring(number), (ada:ask(tostring(number)))) end
    -- more than come back in the time that this takes
    for number = 1, 200 do ada:send_text(tostring(number)) end
    assert.equal(1008, (ada:wait_closed()))
  end)

  it("pass connections on", function()
    local backend <close> = server.start({
      app = [[
        local record = require "record"
        return {
          handle_message = function(conn, message, kind)
            if message == "leave" then return conn:close(4002, "as you wish") end
            conn:send(message, kind)
          end,
          on_close = function(_, code) record("closed", code) end,
        }
      ]],
      environment = { TIDEWIRE_TLS_CERTIFICATE = "" },
    })
    local app <close> = recipes.start("Pass connections on", nil, { BACKEND = backend:url("/") })
    local ada = app:connect("/")
    assert.same({ "hello", "text" }, { ada:ask("hello") })
    ada:send_binary("\0\xff")
    assert.same({ "\0\xff", "binary" }, { ada:receive() })
    ada:send_text("leave")
    assert.same({ 4002, "as you wish" }, { ada:wait_closed() })
    local bob = app:connect("/")
    assert.equal("hello", (bob:ask("hello")))
    bob:close(1000)
    assert.equal(1000, backend:wait_event("closed", 2)[2])
    local eve = app:connect("/")
    assert.equal("hello", (eve:ask("hello")))
    backend:kill()
    assert.equal(1014, (eve:wait_closed()))
    assert.equal(1013, (app:connect("/"):wait_closed()))
  end)

  it("test", function()
    local folder = process.make_directory()
    for name, text in pairs(recipes.files("Test")) do
      process.write_file(folder .. "/" .. name, text)
    end
    local result =
      process.run("busted", { args = { "--lua=lua5.4", "counter_spec.lua" }, directory = folder })
    process.remove_directory(folder)
    assert.equal(0, result.code, result.stdout .. result.stderr)
    assert.is_truthy(result.stdout:find("2 successes / 0 failures / 0 errors", 1, true))
  end)

  -- The command of a line of a recipe, as the test can run it, and an app for it.
  local function run_command(line, words)
    assert.is_truthy(line, "the recipe has no such line")
    local options = {}
    for word in words(line) do options[#options + 1] = word end
    assert.is_truthy(table.remove(options, 1):find("tidewire$"))
    assert.is_truthy(table.remove(options, 1):find("/app.lua$"))
    return options
  end

  it("deploy with systemd", function()
    local files = recipes.files("Deploy with systemd")
    local service = files["tidewire.service"]
    local options = run_command(service:match("\nExecStart=([^\n]+)"), function(line)
      return line:gmatch("%S+")
    end)
    local folder = process.make_directory()
    for index, option in ipairs(options) do
      options[index] = option:gsub("^/run/tidewire", folder)
    end
    local app <close> = server.start({ app = "return {}", options = options })
    assert.equal(app.pid, tonumber(process.read_file(folder .. "/pid")))
    local checked =
      process.run(server.binary(), { args = { "check", app.directory .. "/app.lua" } })
    assert.equal(0, checked.code, checked.stderr)
    if process.find("systemd-analyze") then
      for name, text in pairs(files) do
        text = text:gsub("/usr/local/bin/tidewire", server.binary())
        text = text:gsub("/srv/app/app.lua", app.directory .. "/app.lua")
        process.write_file(folder .. "/" .. name, text)
      end
      local result = process.run("systemd-analyze", {
        args = { "verify", folder .. "/tidewire.socket", folder .. "/tidewire.service" },
      })
      for line in (result.stdout .. result.stderr):gmatch("[^\n]+") do
        assert.is_nil(line:find("^tidewire%.") or line:find(folder, 1, true), line)
      end
    end
    process.remove_directory(folder)
  end)

  it("certificates of Let's Encrypt", function()
    local heading = "Certificates of Let's Encrypt"
    local text = recipes.files(heading)["deploy-tidewire"]
    local folder = process.make_directory()
    local plain = { TIDEWIRE_TLS_CERTIFICATE = false, TIDEWIRE_TLS_KEY = false,
      HOST = "www.example" }
    -- as certbot writes it
    local challenge = "webroot/.well-known/acme-challenge/token"
    local files = recipes.files(heading)
    local port80 <close> = server.start({
      files = { ["app/app.lua"] = files["app.lua"], [challenge] = "token.thumbprint" },
      app_path = "app/app.lua", environment = plain,
    })
    assert.equal("token.thumbprint", port80:http("/.well-known/acme-challenge/token").body)
    local response = port80:http("/chat")
    assert.equal(308, response.status)
    assert.equal("https://www.example/chat", response.headers.location)

    local certificate, key = certificates.make(folder, "first")
    local app <close> = server.start({
      app = [[return {
        tls = { certificate = "cert.pem", key = "key.pem" },
        endpoints = { ["/"] = { handle_message = function(conn, m) conn:send(m) end } },
      }]],
      files = {
        ["cert.pem"] = process.read_file(certificate), ["key.pem"] = process.read_file(key),
      },
      environment = plain, options = { "--pid-file", "pid" },
    })
    local ada = app:connect("/")
    local function deploy(more)
      process.write_file(folder .. "/deploy-tidewire", text)
      local settings = { PATH = folder .. ":" .. os.getenv("PATH"), TLS_USER = "$(id -un)",
        TLS_FOLDER = app.directory, PID_FILE = app.directory .. "/pid" }
      local command = ""
      for name, value in pairs(settings) do
        command = command .. ('export %s="%s"; '):format(name, value)
      end
      return process.run("/bin/sh", { args = { "-c", command .. more } })
    end
    assert(uv.fs_symlink(assert(uv.fs_realpath(server.binary())), folder .. "/tidewire"))
    local function subject()
      local source = assert(stream.connect(app.addresses[1]))
      local name = source.handle.session:getpeercertificate():subject()[1].value
      source:close()
      return name
    end
    for name, command in pairs({
      second = "RENEWED_LINEAGE=%s/live sh %s/deploy-tidewire",
      third = "KEY=%s/live/privkey.pem sh %s/deploy-tidewire %s/live",
    }) do
      local new, new_key = certificates.make(folder, name)
      os.execute(("mkdir -p '%s/live' && cp '%s' '%s/live/fullchain.pem' && cp '%s' "
        .. "'%s/live/cert.pem' && cp '%s' '%s/live/privkey.pem'")
        :format(folder, new, folder, new, folder, new_key, folder))
      local said = deploy(command:gsub("%%s", folder))
      assert.equal(0, said.code, said.stderr)
      assert.equal(name, subject())
    end
    assert.equal("still here", (ada:ask("still here")))
    process.remove_directory(folder)
  end)

  it("deploy in a container", function()
    local text = recipes.files("Deploy in a container")["Dockerfile"]
    local entry = text:match("\nENTRYPOINT %[([^\n]+)%]")
    local options = run_command(entry, function(line) return line:gmatch('"([^"]*)"') end)
    for index, option in ipairs(options) do
      if option:find("^:%d+$") then options[index] = "127.0.0.1:0" end
    end
    local app <close> = server.start({ app = "return {}", listen = {}, options = options })
    assert.is_truthy(app:log():find('^{"time":'))
    for name in text:gmatch("/src/scripts/(%a+)") do
      assert.is_truthy(uv.fs_access("scripts/" .. name, "X"), name)
    end
  end)

  it("a page that reloads itself", function()
    local app <close> =
      recipes.start("A page that reloads itself", { ["public/index.html"] = "hello" })
    assert.equal(200, app:http("/live.js").status)
    local page = app:connect("/live")
    assert.equal("1", (page:receive()))
    app:signal("sighup")
    assert.equal("2", (page:receive()))
  end)

  it("has a test for each of its recipes", function()
    assert.same({}, recipes.untried(false))
  end)
end)
