-- failing_malloc_spec.lua -- malloc fails in the program, because tests/support/failing_malloc.c
-- makes it fail, or because of `ulimit -v`: what a client or a script wants fails, and the process
-- goes on.

local cjson = require "cjson"
local client = require "support.client"
local deflate = require "support.deflate"
local frames = require "support.frames"
local http = require "support.http"
local loop = require "support.loop"
local process = require "support.process"
local server = require "support.server"
local stream = require "support.stream"

local LIBRARY = server.binary():match("^(.*)/") .. "/tests/failing_malloc.so"

local APP = [[
local tw = require "tidewire"
local kept
return {
  defaults = { max_message_size = "8M", max_backlog = "16M" },
  endpoints = {
    ["/echo"] = { handle_message = function(conn, message, kind) conn:send(message, kind) end },
    ["/compressed"] = {
      compression = true,
      handle_message = function(conn, message) conn:send(tostring(#message)) end,
    },
    ["/room"] = {
      on_start = function(conn) conn:join("room " .. conn.id:sub(-1)) end,
      handle_message = function(conn, message)
        tw.room("room " .. conn.id:sub(-1)):broadcast(message)
        conn:after(0.01, function() tw.spawn(function() tw.sleep(0.001) end) end)
        kept = { message, kept and #kept }
      end,
    },
    ["/large"] = {
      handle_message = function(conn, message) conn:send(("x"):rep(tonumber(message))) end,
      on_error = function(conn, err) conn:send(err.kind .. ": " .. err.message) end,
    },
    ["/bomb"] = {
      handle_message = function()
        local t = {}
        while true do t[#t + 1] = ("x"):rep(10000) .. #t end
      end,
    },
  },
  http = {
    ["/stats"] = function() return tw.json.encode(tw.stats()) end,
    ["POST /body"] = function(request) return tostring(#request.body) end,
    ["/large"] = function(request) return ("x"):rep(tonumber(request.query.bytes)) end,
  },
}]]

-- malloc fails between `begin` and `finish`, in the program or in a library.
local function start(least, one_in, library)
  local file
  local app = server.start {
    app = APP,
    prepare = function(folder) file = folder .. "/malloc-fails" end,
    environment = {
      LD_PRELOAD = LIBRARY,
      FAILING_MALLOC = ("%d %d malloc-fails %s"):format(least, one_in, library or ""),
    },
  }
  return app, function() process.write_file(file, "") end, function() assert(os.remove(file)) end
end

local function serves(app)
  local peer = client.connect(app:url("/echo"))
  local answer = peer and peer:ask("hello")
  if peer then peer:close(1000) end
  return answer == "hello"
end

describe("malloc that fails", function()
  if os.getenv("ASAN_OPTIONS") or os.getenv("TSAN_OPTIONS") then
    pending("a sanitizer has its own: nothing of this is tried here")
    return
  end
  after_each(stream.close_all)

  it("for a large block ends what has wanted it, and nothing else", function()
    local app, begin, finish = start(300000, 1)
    local ada, large = app:connect("/echo"), app:connect("/large")
    begin()
    for _ = 1, 200 do large:ask("70000") end -- so that the library sees the file
    local peer = app:connect("/echo")
    peer:send_text(("x"):rep(1 << 20))
    assert.is_truthy(peer:wait_closed() ~= 1000)
    assert.matches("^memory: .*the system has not given the process", (large:ask("3000000")))
    assert.equal("hello", (ada:ask("hello")))
    finish()
    assert.is_true(loop.wait_until(function() return serves(app) end))
    app:stop()
  end)

  it("for a message that is large once decompressed ends its connection only", function()
    local app, begin, finish = start(300000, 1)
    local ada, large = app:connect("/echo"), app:connect("/large")
    local peer = app:connect("/compressed", { deflate = "" })
    local message = frames.encode({ payload = deflate.bomb(1 << 20), rsv = 4 })
    peer:send_raw(message)
    assert.is_true(tonumber((peer:receive())) > 1 << 20)
    begin()
    for _ = 1, 200 do large:ask("70000") end -- so that the library sees the file
    peer:send_raw(message)
    local code, reason = peer:wait_closed()
    assert.same({ 1013, "the server has no memory for this message" }, { code, reason })
    assert.equal("hello", (ada:ask("hello")))
    finish()
    app:stop()
  end)

  it("in OpenSSL fails handshakes, the first one as well", function()
    local app, begin, finish = start(1, 1, "libcrypto")
    begin()
    assert.is_true(loop.wait_until(function() return not serves(app) end))
    finish()
    assert.is_true(loop.wait_until(function() return serves(app) end))
    app:stop()
  end)

  it("for any block, now and then, refuses new clients until there is memory", function()
    local app, begin, finish = start(1, 30)
    local ada = app:connect("/echo")
    begin()
    for round = 1, 60 do
      local peer = client.connect(app:url(round % 2 == 0 and "/room" or "/echo"))
      if peer then
        for _ = 1, 5 do peer:send_text(("x"):rep(round * 40)) end
        if round % 3 == 0 then peer:close(1000) end
      end
      local body = ("x"):rep(round * 500)
      http.request(app.addresses[1], { method = "POST", path = "/body", body = body })
      http.request(app.addresses[1], "/large?bytes=" .. round * 1000)
    end
    finish()
    assert.is_true(loop.wait_until(function() return serves(app) end))
    assert.is_true(app.process:is_running())
    assert.equal(200, app:http("/stats").status)
    ada:close(1000)
    app:stop()
  end)
end)

describe("one call of malloc that fails in a library at the start", function()
  if os.getenv("ASAN_OPTIONS") or os.getenv("TSAN_OPTIONS") then
    pending("a sanitizer has its own: nothing of this is tried here")
    return
  end

  local function environment(number, library)
    return { LD_PRELOAD = LIBRARY, FAILING_MALLOC_CALL = ("%d %s"):format(number, library) }
  end

  it("changes nothing for Lua and libuv, which use the reserve", function()
    for _, library in ipairs { "liblua", "libuv" } do
      for number = 1, 5 do
        local app <close> = server.start { app = APP, environment = environment(number, library) }
        assert.is_true(serves(app), library .. number)
      end
    end
  end)

  it("ends the start with a message where OpenSSL would crash later", function()
    for _, number in ipairs { 1, 2, 3, 20, 40, 50 } do
      local _, log = server.launch_to_end { app = APP, environment = environment(number,
        "libcrypto") }
      assert.matches("tidewire: out of memory (OpenSSL cannot begin)", log, 1, true)
    end
  end)
end)

describe("ulimit -v", function()
  if os.getenv("ASAN_OPTIONS") or os.getenv("TSAN_OPTIONS") then
    pending("a sanitizer has no room: nothing of this is tried here")
    return
  end
  after_each(stream.close_all)

  it("is divided among the scripts, whose bombs harm nobody else", function()
    local app <close> = server.start { app = APP, shell = "ulimit -v 400000;", workers = 1 }
    local limit = cjson.decode(app:http("/stats").body).lua_memory_limit_bytes
    assert.equal(400000 * 1024 // 2, limit)
    local ada = app:connect("/echo")
    for _ = 1, 3 do
      local peer = app:connect("/bomb")
      peer:send_text("now")
      assert.equal(1011, (peer:wait_closed()))
      assert.equal("hello", (ada:ask("hello")))
    end
    assert.is_true(serves(app))
  end)
end)
