-- log_pretty_spec.lua -- the log for people: its lines at the start, of errors and of refusals,
-- when it is used; and the same lines in the other formats.

local client = require "support.client"
local loop = require "support.loop"
local process = require "support.process"
local server = require "support.server"
local stream = require "support.stream"
local uv = require "luv"

-- Tests name lines of this file: the error is thrown on line 4 and called on line 14.
local APP = [[
local tw = require "tidewire"
local function greet(user)
  -- the line before
  return user.name
  -- the line behind
end
return {
  limits = { per_address = 3, header_bytes = 1024 },
  endpoints = {
    ["/chat"] = {
      subprotocols = { "chat.v2", "chat.v1" },
      origins = { "https://example.com" },
      handle_message = function(conn, message)
        if message == "error" then greet(nil) end
        if message == "leap" then tw.log.info("one\ntwo\27[31m", { three = "four\u{202e}" }) end
        conn:send(conn.id)
      end,
      on_error = function() return false end,
    },
    ["/private"] =
      { validate = function(request) return nil, 401, "no token in " .. request.path end },
    ["/full"] = { max_connections = 1 },
  },
  http = {
    ["/"] = function() return "a page" end,
    ["POST /jobs"] = function() return 201 end,
    ["/files"] = { static = "files" },
    ["/broken"] = function() error("broken route") end,
  },
}
]]

-- Refused requests, and their lines in the log.
local REFUSALS = {
  { get = "/nowhere?token=secret", status = 404, path = "/nowhere",
    why = "/chat.*", also = { "POST /jobs", "/private" } },
  { get = "/chat?token=secret", status = 426, path = "/chat", why = "WebSocket" },
  { get = "/jobs", status = 405, path = "/jobs", why = "method" },
  { get = "/files/none.html", status = 404, path = "/files/none.html", why = "file" },
  { upgrade = "/nowhere?token=secret", status = 404, path = "/nowhere", why = "/chat.*",
    also = { "/private" } },
  { upgrade = "/chat", headers = { Origin = "https://evil.example" }, status = 403, path = "/chat",
    why = "Origin.*https://evil.example" },
  { upgrade = "/chat", subprotocols = { "graphql" }, status = 400, path = "/chat",
    why = "chat.v2, chat.v1" },
  { upgrade = "/private?token=secret", status = 401, path = "/private",
    why = "no token in /private" },
  { raw = "GET /chat HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    .. "Sec-WebSocket-Version: 8\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    status = 426, path = "/chat", why = "13" },
  { raw = "GET /long?token=secret HTTP/1.1\r\nHost: a\r\nX-Long: " .. ("x"):rep(2000) .. "\r\n\r\n",
    status = 431, path = "/long", why = "large" },
  { raw = "GET /bad?token=secret HTTP/1.1\r\nHost: a\r\nno header\r\n\r\n", status = 400,
    path = "/bad", why = "%a" },
}

describe("the log", function()
  local app

  after_each(function()
    stream.close_all()
    if app then app:stop() end
    app = nil
  end)

  local function start(options, ready)
    app = server.launch({ app = APP, files = { ["files/a.txt"] = "a" }, options = options })
    assert.is_truthy(app:wait_for_log(ready), app:log())
    local port = app:log():match("https?://127%.0%.0%.1:(%d+)/")
    app.addresses = { { host = "127.0.0.1", port = tonumber(port),
      tls = os.getenv("TIDEWIRE_TEST_TLS") and true or nil } }
    return app
  end

  local function start_pretty(level)
    return start({ "--log-format", "pretty", "--log-level", level or "info" }, "serving")
  end
  local function start_text(level)
    return start({ "--log-level", level or "info" }, "event=ready")
  end

  local function refuse(case)
    if case.raw then
      return assert(app:raw(case.raw)).status
    elseif case.get then
      return app:http(case.get).status
    end
    local peer, status = client.connect(app:url(case.upgrade),
      { headers = case.headers, subprotocols = case.subprotocols })
    assert.is_nil(peer)
    return status
  end

  it("says at the start where to go", function()
    start_pretty()
    local scheme = app.addresses[1].tls and "https" or "http"
    assert.is_truthy(app:log()
      :find(("serving %s://127.0.0.1:%d/ (WebSocket: /chat, /full, /private)")
        :format(scheme, app.addresses[1].port), 1, true), app:log())
    assert.equal(0, #app:log_lines("generation"))
    assert.equal(0, #app:log_lines("event="))
    app:stop()
    start_text()
    local message = ("serving %s://127.0.0.1:%d/ (WebSocket: /chat, /full, /private)")
      :format(scheme, app.addresses[1].port)
    assert.is_truthy(app:log():find('event=serving message="' .. message .. '"', 1, true),
      app:log())
  end)

  it("describes a bare handler, several addresses and all interfaces", function()
    app = server.start({ app = "return {}", listen = { "127.0.0.1:0", "unix:socket", "*:0" } })
    local line = app:log_lines("event=serving")[1]
    assert.is_truthy(line:find("serving https?://127%.0%.0%.1:%d+/, unix:socket, "
      .. "https?://localhost:%d+/ on all interfaces %(WebSocket: every path%)"), line)
  end)

  it("for people shows an error's place with its source, and the script's own frames", function()
    start_pretty()
    local ada = app:connect("/chat", { subprotocols = { "chat.v1" } })
    ada:send_text("error")
    local id = ada:ask("id")
    assert.is_truthy(app:wait_for_log(" at app.lua:14"))
    local log = app:log()
    local first, rest = log:match("([^\n]*app%.lua:4: [^\n]*)\n(.*)")
    assert.is_truthy(first:find("^%d%d:%d%d:%d%d%.%d+ error .*/chat " .. id:sub(-8)
      .. " app%.lua:4: attempt to index a nil value"), first)
    assert.is_truthy(first:find("handle_message", 1, true), first)
    assert.is_truthy(rest:find("^ +3 |   %-%- the line before\n *> +4 |   return user%.name\n"
      .. " +5 |   %-%- the line behind\n"
      .. " +at app%.lua:4 in greet\n +at app%.lua:14\n"), rest)
    assert.is_nil(log:find("lua/tidewire", 1, true))
    assert.is_nil(log:find("\27", 1, true), "colours, and it is no terminal")
  end)

  it("shows the source of a file whose name is longer than Lua shows", function()
    local folder = ("a-folder-with-a-long-name/"):rep(4)
    app = server.launch({
      files = { [folder .. "app.lua"] = APP, [folder .. "files/a.txt"] = "" },
      app_path = folder .. "app.lua", options = { "--log-format", "pretty" },
    })
    assert.is_truthy(app:wait_for_log("serving"), app:log())
    app.addresses = { { host = "127.0.0.1", port = tonumber(app:log():match("127%.0%.0%.1:(%d+)/")),
      tls = os.getenv("TIDEWIRE_TEST_TLS") and true or nil } }
    app:http("/broken")
    assert.is_truthy(app:wait_for_log(' > +%d+ |     %["/broken"%] = function'), app:log())
  end)

  it("as text has the script's own frames in one short line", function()
    start_text()
    local ada = app:connect("/chat", { subprotocols = { "chat.v1" } })
    ada:send_text("error")
    local line = app:wait_for_log("event=script_error")
    assert.is_truthy(line:find('why="app.lua:4: attempt to index a nil value (local \'user\')" '
      .. 'traceback="app.lua:4 in greet < app.lua:14', 1, true), line)
    assert.is_true(#line < 300, line)
    app:http("/broken")
    line = app:wait_for_log("broken route")
    assert.is_nil(line:find("lua/tidewire", 1, true), line)
  end)

  it("for people cannot be forged either", function()
    start_pretty()
    local ada = app:connect("/chat", { subprotocols = { "chat.v1" } })
    ada:ask("leap")
    local line = app:wait_for_log("one")
    assert.is_truthy(line:find([[one\ntwo\u001b[31m  three=four\u202e]], 1, true), line)
  end)

  it("for people says of a reload how many connections another codec has closed", function()
    start_pretty()
    local peer = app:connect("/full")
    app:signal("sighup")
    assert.is_truthy(app:wait_for_log("reloaded: generation 2 runs  seconds="), app:log())
    process.write_file(app.directory .. "/app.lua",
      (APP:gsub("max_connections = 1", "codec = 'json'")))
    app:signal("sighup")
    assert.is_truthy(app:wait_for_log("; connections closed: 1 %(codec changed%)  seconds="),
      app:log())
    assert.same({ "close", 1012, "codec changed" }, { select(2, peer:receive()) })
  end)

  it("has one line for each refusal: the path, the status and why", function()
    for _, begin in ipairs({ start_pretty, function() start_text("debug") end }) do
      begin()
      for _, case in ipairs(REFUSALS) do
        local before = #app:log()
        local name = (case.raw or case.get or case.upgrade):match("^[^\r]*")
        assert.equal(case.status, refuse(case), name)
        local function lines()
          local found = {}
          for line in app:log():sub(before + 1):gmatch("[^\n]+") do
            if line:find(tostring(case.status), 1, true) then found[#found + 1] = line end
          end
          return found
        end
        assert.is_truthy(loop.wait_until(function() return lines()[1] end), name)
        assert.equal(1, #lines(), name)
        local line = lines()[1]
        local names_path = line:find("path=" .. case.path .. " ", 1, true)
          or line:find(" " .. case.path .. ": ", 1, true)
        assert.is_truthy(names_path, line)
        assert.is_truthy(line:find(case.why), line)
        for _, also in ipairs(case.also or {}) do
          assert.is_truthy(line:find(also, 1, true), line)
        end
      end
      assert.is_nil(app:log():find("secret", 1, true))
      app:stop()
    end
    app = nil
  end)

  it("reports limits that are reached, and not each refusal, at level info", function()
    start_text("debug")
    local full = app:connect("/full")
    assert.equal(503, (select(2, client.connect(app:url("/full")))))
    assert.is_truthy(
      app:wait_for_log('event=refused .*path=/full status=503 why="This endpoint is full'))
    for _ = 1, 2 do -- the refused one counts until its socket is closed
      assert.is_truthy(loop.wait_until(function()
        return (client.connect(app:url("/chat"), { subprotocols = { "chat.v1" } }))
      end))
    end
    assert.equal(429, (select(2, client.connect(app:url("/chat")))))
    assert.is_truthy(app:wait_for_log("event=refused .*path=/chat status=429 why="))
    full:drop()
    stream.close_all()
    app:stop()
    start_text()
    for _, case in ipairs(REFUSALS) do refuse(case) end
    app:http("/")
    assert.equal(0, #app:log_lines("event=re[fq]u"))
  end)

  it("has requests at level debug: method, path, status and seconds, never the query", function()
    start_text("debug")
    app:http("/?token=secret")
    app:http({ path = "/jobs?token=secret", method = "POST", body = "x" })
    app:http("/files/a.txt")
    app:http("/broken")
    assert.is_truthy(
      app:wait_for_log("event=request .*method=GET path=/ status=200 seconds=%d+%.%d+$"))
    assert.is_truthy(app:wait_for_log("event=request .*method=POST path=/jobs status=201 seconds="))
    assert.is_truthy(
      app:wait_for_log("event=request .*method=GET path=/files/a.txt status=200 seconds="))
    assert.is_truthy(
      app:wait_for_log("event=request .*method=GET path=/broken status=500 seconds="))
    assert.equal(4, #app:log_lines("event=request"))
    assert.is_nil(app:log():find("secret", 1, true))
  end)

  it("is for people on a terminal, in colours unless NO_COLOR is set", function()
    local folder = process.make_directory()
    process.write_file(folder .. "/app.lua", APP)
    os.execute(("mkdir '%s/files' && mkfifo '%s/stdin'"):format(folder, folder))
    -- at its end `script` ends, too
    local stdin = assert(uv.fs_open(folder .. "/stdin", uv.constants.O_RDWR, 0))
    local runs = 0
    local function run(environment, options)
      runs = runs + 1
      local typescript = ("%s/typescript%d"):format(folder, runs)
      environment.TERM = "xterm"
      local command = ('"%s" app.lua --listen 127.0.0.1:0 --pid-file pid %s')
        :format(server.binary(), options or "")
      local child = process.start("/bin/sh", {
        args = { "-c", 'exec script -qefc "$0" "$1" <stdin', "exec " .. command, typescript },
        directory = folder, environment = environment,
        stdout = "/dev/null",
      })
      local text = ""
      loop.wait_until(function()
        text = process.read_file(typescript) or ""
        local is_ready = text:find("/private%)[^\n]*\n") and uv.fs_stat(folder .. "/pid")
        return is_ready or child.exit_code
      end)
      local pid = tonumber(process.read_file(folder .. "/pid") or "")
      assert.is_truthy(pid, text)
      uv.kill(pid, "sigterm") -- and `script` ends with it
      assert.is_truthy(child:wait_exit())
      return text
    end
    local text = run({})
    assert.is_truthy(
      text:find("\27%[2m%d%d:%d%d:%d%d%.%d%d%d \27%[0m\27%[32minfo \27%[0m serving http"), text)
    text = run({ NO_COLOR = "1" })
    assert.is_truthy(text:find("%d%d:%d%d:%d%d%.%d%d%d info  serving http"), text)
    assert.is_nil(text:find("\27", 1, true), text)
    text = run({}, "--log-format text")
    assert.is_truthy(text:find("info event=serving", 1, true), text)
    uv.fs_close(stdin)
    process.remove_directory(folder)
  end)
end)
