-- talk_spec.lua -- `tidewire talk`: a WebSocket client for pipes and terminals.

local certificates = require "support.certificates"
local loop = require "support.loop"
local process = require "support.process"
local server = require "support.server"
local stream = require "support.stream"

local APP = [[
local tw = require "tidewire"
local answers = {
  kick = function(conn) conn:close(4003, "kicked \27[31m") end,
  bye = function(conn) conn:close() end,
  away = function(conn) conn:close(1001) end,
  control = function(conn) conn:send("a\27[2Jb\u{202e}c\td") end,
  binary = function(conn) conn:send("\0\1\255", "binary") end,
  late = function(conn) tw.sleep(0.3) conn:send("late") end,
  twice = function(conn) conn:send("one") conn:send("two") end,
  headers = function(conn)
    conn:send(("%s|%s|%s")
      :format(conn.request.headers["x-token"], conn.request.headers.origin, conn.subprotocol))
  end,
  pinged = function(conn)
    conn:ping()
    while not conn.rtt do tw.sleep(0.01) end
    conn:send("ponged")
  end,
}
return {
  endpoints = {
    ["/"] = {
      origins = "*",
      subprotocols = { "v2", "v1" },
      max_backlog = "64M", -- how much the sockets hold is the system's
      on_close = function(conn, code) tw.log.info(("%s gone %d"):format(conn.query.name, code)) end,
      handle_message = function(conn, message) (answers[message] or conn.send)(conn, message) end,
    },
    ["/refuses"] = { validate = function() return nil, 401, "who are \27 you?" end },
    ["/silent"] = {},
  },
}
]]

local folder, app

--- Runs it in a shell, with this input. More arguments follow the address. It
--- ends when the server closes ("bye"), not by its own time.
local function talk(input, path, words)
  local command = ("printf '%%b' '%s' | '%s' talk '%s' %s")
    :format(input, server.binary(), app:url(path), words or "--wait 1000")
  return process.run("/bin/sh", { args = { "-c", command } })
end

local BYE = "closed by the server: 1000\n"

--- The same with a terminal in the place of the pipe and of the file; what it shows, and the exit
--- code.
local function typed(input, path)
  local pty = [[import pty, sys; sys.exit(pty.spawn(sys.argv[1:]) >> 8)]]
  local command = ("printf '%%b' '%s' | python3 -c '%s' '%s' talk '%s'")
    :format(input, pty, server.binary(), app:url(path))
  local result = process.run("/bin/sh", { args = { "-c", command } })
  return result.stdout:gsub("\r", ""), result.code
end

describe("tidewire talk", function()
  lazy_setup(function()
    folder = process.make_directory()
    app = server.start({ app = APP, listen = { "127.0.0.1:0", "unix:" .. folder .. "/s" } })
  end)
  lazy_teardown(function()
    app:stop()
    process.remove_directory(folder)
  end)
  after_each(stream.close_all)

  it("sends each line of a pipe, prints what comes, and closes", function()
    local result = talk("hi\\nbye\\n", "/")
    assert.same({ "hi\n", BYE, 0 }, { result.stdout, result.stderr, result.code })
    result = talk("one\\n\\ntwo\\r\\nbye", "/") -- the last line has no end
    assert.same({ "one\n\ntwo\n", BYE, 0 }, { result.stdout, result.stderr, result.code })
    for _, seconds in ipairs { "0", "0.2" } do -- nothing comes for so long
      result = talk("hi\\n", "/silent", "--wait " .. seconds)
      assert.same({ "", "", 0 }, { result.stdout, result.stderr, result.code })
    end
  end)

  it("waits for answers that come in their time, and answers pings", function()
    assert.equal("late\none\ntwo\nponged\n", talk("late\\ntwice\\npinged\\nbye\\n", "/").stdout)
  end)

  it("prints how the server has closed; the exit code says whether it was clean", function()
    local result = talk("kick\\n", "/")
    assert.same({ "", 'closed by the server: 4003 "kicked \\x1b[31m"\n', 1 },
      { result.stdout, result.stderr, result.code })
    result = talk("bye\\nunheard\\n", "/")
    assert.same({ "closed by the server: 1000\n", 0 }, { result.stderr, result.code })
    assert.equal(0, talk("away\\n", "/").code)
  end)

  it("sends headers and subprotocols", function()
    local words =
      "--header 'X-Token: a b' --header='Origin: https://a.example' --subprotocol v1 --wait 1000"
    assert.equal("a b|https://a.example|v1\n", talk("headers\\nbye\\n", "/", words).stdout)
    assert.equal("nil|nil|v2\n",
      talk("headers\\nbye\\n", "/", "--subprotocol v1 --subprotocol v2 --wait 1000").stdout)
  end)

  it("says why there is no connection", function()
    local result = talk("hi\\n", "/refuses")
    assert.equal(1, result.code)
    assert.equal("", result.stdout)
    assert.is_truthy(result.stderr:find(": refused: 401 Unauthorized\n", 1, true), result.stderr)
    assert.is_truthy(result.stderr:find('{"error":"who are \\u001b you?","status":401}', 1, true),
      result.stderr)
    assert.is_truthy(talk("", "/nowhere").stderr:find("refused: 404 Not Found", 1, true))
    local refused = server.run({ "talk", "ws://127.0.0.1:1/" })
    assert.same({ 1, "tidewire: talk: ws://127.0.0.1:1/: Connection refused\n" },
      { refused.code, refused.stderr })
  end)

  it("refuses addresses and options that cannot be meant", function()
    for words, expected in pairs {
      [""] = "talk needs an address",
      ["ftp://a/"] = "it must begin with ws:// or wss://",
      ["ws://a:x/"] = "the port must be a number",
      ["ws://a/ --header nonsense"] = 'expected "Name: value"',
      ["ws://a/ --subprotocol a,b"] = "the name of a subprotocol, such as v1.chat",
      ["ws://a/ --wait soon"] = "a number of seconds",
      ["ws://a/ --workers 2"] = "--workers is an option of the server",
      ["ws://a/ ws://b/"] = '"ws://a/" and "ws://b/"',
    } do
      local args = { "talk" }
      for word in words:gmatch("%S+") do args[#args + 1] = word end
      local result = server.run(args)
      assert.equal(2, result.code, words)
      assert.is_truthy(result.stderr:find(expected, 1, true), result.stderr)
    end
    local result = server.run({ "app.lua", "--header", "a: b" })
    assert.same({ 2, "tidewire: --header is an option of tidewire talk URL\n" },
      { result.code, result.stderr })
  end)

  it("does not send invalid UTF-8, and prints the reason", function()
    local result = talk("\\0377\\nhi\\nbye\\n", "/")
    assert.same({ "hi\n", 1 }, { result.stdout, result.code })
    assert.is_truthy(result.stderr:find("not UTF-8", 1, true))
  end)

  it("gets through more than the sockets hold, in both directions", function()
    process.write_file(folder .. "/lines", (("x"):rep(999) .. "\n"):rep(20000))
    local command = ("{ cat lines; echo bye; } | '%s' talk '%s' --wait 1000 2> said | cmp - lines")
      :format(server.binary(), app:url("/"))
    local result = process.run("/bin/sh", { args = { "-c", command }, directory = folder })
    assert.same({ 0, "", "" }, { result.code, result.stdout, result.stderr })
  end)

  it("ends when nothing reads its output", function()
    local command = ("yes | '%s' talk '%s' | head -1"):format(server.binary(), app:url("/"))
    local result = process.run("/bin/sh", { args = { "-c", command } })
    assert.same({ 0, "y\n" }, { result.code, result.stdout })
  end)

  it("works over a Unix socket", function()
    local command = ("printf 'hi\\nbye\\n' | '%s' talk 'unix:%s/s:/'")
      :format(server.binary(), folder)
    assert.equal("hi\n", process.run("/bin/sh", { args = { "-c", command } }).stdout)
  end)

  it("closes on Ctrl-C, in good order", function()
    local command = ("mkfifo input; exec 3<> input; exec '%s' talk '%s' < input")
      :format(server.binary(), app:url("/?name=ctrl"))
    local client = process.start("/bin/sh",
      { args = { "-c", command }, directory = folder, stdout = folder .. "/out" })
    local input = assert(io.open(folder .. "/input", "w"))
    input:write("hi\n"):flush()
    assert.is_truthy(loop.wait_until(function()
      return process.read_file(folder .. "/out") == "hi\n"
    end))
    client:signal("sigint")
    assert.equal(0, client:wait_exit())
    input:close()
    assert.is_truthy(app:wait_for_log("ctrl gone 1000"))
  end)

  it("shows a terminal nothing that steers it", function()
    local shown, code = typed("hi\\ncontrol\\nbinary\\n\\004", "/")
    assert.equal(0, code)
    for _, text in ipairs { "connected to ws://", "\n< hi\n", "\n< a\\x1b[2Jb\\u{202e}c\td\n",
      "\n< (binary, 3 bytes: 00 01 ff)\n", "closed: 1000" } do
      assert.is_truthy(shown:find(text, 1, true), shown)
    end
  end)

  it("believes a server over TLS only with a certificate that it knows", function()
    local certificate, key = certificates.make(folder, "localhost")
    local secret <close> = server.start({ app = APP,
      environment = { TIDEWIRE_TLS_CERTIFICATE = certificate, TIDEWIRE_TLS_KEY = key } })
    local function run(host, words, environment)
      local command = ("printf 'hi\\nbye\\n' | '%s' talk 'wss://%s:%d/' %s")
        :format(server.binary(), host, secret.addresses[1].port, words)
      return process.run("/bin/sh", { args = { "-c", command }, environment = environment })
    end
    local result = run("127.0.0.1", "")
    assert.same({ "", 1 }, { result.stdout, result.code })
    assert.is_truthy(result.stderr:find("its certificate is not trusted: self", 1, true),
      result.stderr)
    assert.is_truthy(result.stderr:find("--insecure", 1, true), result.stderr)
    assert.equal("hi\n", run("127.0.0.1", "--insecure").stdout)
    local trusted = { SSL_CERT_FILE = certificate }
    assert.equal("hi\n", run("127.0.0.1", "", trusted).stdout)
    assert.equal("hi\n", run("localhost", "", trusted).stdout)
    assert.is_truthy(run("127.0.0.2", "", trusted).stderr:find("Connection refused", 1, true))
    local plain = ("ws://127.0.0.1:%d/"):format(app.addresses[1].port)
    result = server.run({ "talk", (plain:gsub("^ws", "wss")) })
    assert.is_truthy(result.stderr:find("should wss:// be ws://?", 1, true),
      result.stderr)
  end)
end)
