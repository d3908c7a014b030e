-- blocked_spec.lua -- a turn that blocks its worker is reported while it lasts, with the line of
-- the script that blocks, and once more with its time. Hooks that wait are not.
--
-- A blocking call reads a FIFO or a socket; the test ends it when it has seen the line.

local cjson = require "cjson"
local faults = require "support.faults"
local http = require "support.http"
local loop = require "support.loop"
local server = require "support.server"
local stream = require "support.stream"
local uv = require "luv"

-- `--NAME` names a line.
local APP = [[
local tw, record, here, uv = require "tidewire", require "record", require "here", require "luv"
local function exists(name) local f <close> = io.open(name) return f ~= nil end
local function block() local f <close> = io.open("fifo") f:read("a") end --block
local function busy() while not os.rename("go", "went") do for _ = 1, 1000 do end end end --busy
local resume = coroutine.wrap(function() while true do block() coroutine.yield() end end)
local function deep(n) if n == 0 then block() return 0 end return 1 + deep(n - 1) end
local ends = {}
local ways = {
  read = block, busy = busy,
  execute = function() os.execute("cat fifo") end, --execute
  popen = function() local f <close> = io.popen("cat fifo") f:read("a") end, --popen
  coroutine = function() resume() end,
  deep = function() deep(10000) end,
  pcall = function() pcall(pcall, xpcall, block, print) end,
  gsub = function() ("x"):gsub("x", block) end,
  sort = function() table.sort({ 1, 2 }, function(a, b) block() return a < b end) end,
  metamethod = function() return setmetatable({}, { __index = block }).x end,
  variable = function() local _ <close> = setmetatable({}, { __close = block }) end,
  made = function() assert(load("\n\n\nio.open('fifo'):read('a')", "=made"))() end,
  collected = function() setmetatable({}, { __gc = block }) collectgarbage() collectgarbage() end,
  socket = function() local s = require("socket.core").tcp()
    assert(s:connect("127.0.0.1", PORT)) s:receive(1) s:close() end, --socket
  timer = function(conn) conn:after(0.01, block) end,
  every = function() local t t = tw.every(0.01, function() t:cancel() block() end) end,
  spawn = function() tw.spawn(block) end,
  luv = function() local t = uv.new_timer() t:start(1, 0, function() t:close() block() end) end,
  error = function() error("into on_error") end,
  body = function() coroutine.wrap(os.execute)("cat fifo") end, --body
  alone = function() tw.spawn(os.execute, "cat fifo") end,
  search = function() -- a call of a C function that takes some 0.9 seconds or more
    local seconds, length = 0, 1000
    repeat
      length = length * 2
      local from = os.clock()
      local _ = ("a"):rep(length):find(".-b")
      seconds = os.clock() - from
    until seconds > 0.1
    -- in a later turn
    tw.after(0.01, function() local _ = ("a"):rep(length * 3):find(".-b") end) --search
  end,
  close = function(conn) ends[conn] = true conn:close() end,
}
if exists("reload") then
  block()
end
if exists("slow") then os.execute("sleep 0.6") end
return {
  defaults = { handler_timeout = 1000 },
  endpoints = { ["/chat/:room"] = {
    validate = here.validate,
    handle_message = function(conn, message)
      if ways[message] then ways[message](conn) end
      conn:send(message)
    end,
    on_error = function(conn) block() conn:send("error") return false end,
    on_close = function(conn) if ends[conn] then block() end end,
  }, ["/validate"] = { validate = function() block() return true end } },
  http = { ["/route"] = function() block() return "done" end,
           ["/sleep"] = function() tw.sleep(0.6) return "slept" end,
           ["/await"] = function()
             return (tw.await(function(done) tw.after(0.6, function() done("came") end) end))
           end },
  on_stop = function() record("stopping") if exists("stop") then block() end end,
}
]]

--- The number of the line with the name.
local function line_of(name)
  local number = 1
  for line in APP:gmatch("([^\n]*)\n") do
    if line:sub(-#name - 2) == "--" .. name then return number end
    number = number + 1
  end
end

describe("a blocked worker", function()
  local app, listener, accepted, timer

  local function start(options)
    options = options or {}
    options.app = APP:gsub("PORT", listener:getsockname().port)
    options.options = { "--admin", "127.0.0.1:0" }
    local prepare = options.prepare or function() end
    options.prepare = function(folder)
      os.execute(("mkfifo '%s/fifo'"):format(folder))
      prepare(folder)
    end
    app = server.start(options)
  end

  -- A server that accepts, and says nothing.
  lazy_setup(function()
    timer, listener = uv.new_timer(), uv.new_tcp()
    listener:bind("127.0.0.1", 0)
    listener:listen(8, function()
      accepted = uv.new_tcp()
      listener:accept(accepted)
    end)
  end)
  after_each(function()
    timer:stop()
    stream.close_all()
    app:stop()
  end)

  local function make_file(name)
    io.open(app.directory .. "/" .. name, "w"):close()
  end

  --- Ends the reading of the FIFO, of each reader that comes, while f runs.
  local function releasing(f)
    timer:start(0, 5, function()
      local flags = uv.constants.O_WRONLY + uv.constants.O_NONBLOCK
      local fd = uv.fs_open(app.directory .. "/fifo", flags, 0) -- nil: there is no reader
      if fd then uv.fs_close(fd) end
    end)
    f()
    timer:stop()
  end

  --- The pattern of a line: of the turn that goes on, or has ended.
  local function line_pattern(ended, expected)
    local at = (" file=%s line=%d "):format(expected.file or "app.lua", expected.line)
    return "worker=%d+ event=worker_blocked .*seconds=[%d.]+ cpu_seconds=[%d.]+ ended=" ..
      tostring(ended) .. " hook=" .. expected.hook ..
      (expected.endpoint and " endpoint=" .. expected.endpoint or "") ..
      at:gsub("[%[%]]", "%%%0") .. "why="
  end

  --- Waits for one line more that matches than there were.
  local function wait_for_line(ended, expected, before)
    local pattern = line_pattern(ended, expected)
    local line = loop.wait_until(function() return app:log_lines(pattern)[before + 1] end)
    assert(line, "no line " .. pattern .. " in\n" .. app:log())
    return line
  end

  --- Causes a blocking call, waits for the line, ends the call, waits for the other line.
  local function check(expected, cause, release)
    local going = #app:log_lines(line_pattern(false, expected))
    local ended = #app:log_lines(line_pattern(true, expected))
    cause()
    local line = wait_for_line(false, expected, going)
    assert.is_true(tonumber(line:match(" seconds=([%d.]+)")) >= 0.25, line)
    releasing(function()
      if release then release() end
      line = wait_for_line(true, expected, ended)
      assert.is_true(tonumber(line:match(" seconds=([%d.]+)")) >= 0.25, line)
    end)
    assert.equal(going + 1, #app:log_lines(line_pattern(false, expected)))
    assert.equal(ended + 1, #app:log_lines(line_pattern(true, expected)))
  end

  --- Checks a way of blocking in handle_message.
  local function check_message(message, expected, release)
    local ada = app:connect("/chat/x")
    expected.hook, expected.endpoint = expected.hook or "handle_message", "/chat/:room"
    expected.line = expected.line or line_of "block"
    check(expected, function() ada:send_text(message) end, release)
    assert.equal(message, (ada:receive()))
  end

  it("is reported for calls of C functions that wait", function()
    start()
    check_message("read", {})
    check_message("execute", { line = line_of "execute" })
    check_message("popen", { line = line_of "popen" })
    check_message("socket", { line = line_of "socket" }, function()
      loop.wait_until(function() return accepted end)
      accepted:write("x")
      accepted:close()
      accepted = nil
    end)
  end)

  it("is reported with the innermost line, whatever is between", function()
    start()
    for _, way in ipairs { "coroutine", "coroutine", "deep", "pcall", "gsub", "sort", "metamethod",
                           "variable" } do
      check_message(way, {})
    end
    check_message("made", { file = "made", line = 4 })
    check_message("body", { line = line_of "body" })
  end)

  it("is reported for Lua code that does not end", function()
    start()
    for _ = 1, 2 do -- the watchdog has read the first line when the worker writes the second
      local ada = app:connect_on(0, "/chat/x")
      check({ hook = "handle_message", endpoint = "/chat/:room", line = line_of "busy" },
        function() ada:send_text("busy") end, function() make_file("go") end)
      assert.equal("busy", (ada:receive()))
    end
  end)

  it("is reported for a C function that computes", function()
    start()
    local ada = app:connect("/chat/x")
    check({ hook = "timer", line = line_of "search" }, function() ada:send_text("search") end)
  end)

  it("is reported without a line where no function of a script runs", function()
    start()
    app:connect("/chat/x"):send_text("alone")
    local pattern = 'event=worker_blocked .*ended=%s hook=spawn why="a script '
    assert.is_truthy(app:wait_for_log(pattern:format("false")))
    releasing(function() assert.is_truthy(app:wait_for_log(pattern:format("true"))) end)
  end)

  it("is reported without a hook where no script runs", function()
    start(faults.options({}))
    local ada = app:connect("/chat/x")
    faults.block_send(app, true)
    ada:send_text("hello")
    local pattern = "event=worker_blocked seconds=[%%d.]+ cpu_seconds=[%%d.]+ ended=%s why="
    assert.is_truthy(app:wait_for_log(pattern:format("false")))
    faults.block_send(app, false)
    assert.is_truthy(app:wait_for_log(pattern:format("true")))
    assert.equal("hello", (ada:receive()))
    local text = http.request(app.admin, "/metrics").body
    assert.is_truthy(text:find('\ntidewire_worker_blocked_total{hook="",endpoint=""} 1\n'))
  end)

  it("is reported with the hook that blocks", function()
    start()
    local ada = app:connect("/chat/x")
    local function check_hook(way, hook, endpoint)
      check({ hook = hook, endpoint = endpoint, line = line_of "block" },
        function() ada:send_text(way) end)
    end
    check_hook("timer", "timer", "/chat/:room")
    check_hook("every", "timer")
    check_hook("spawn", "spawn")
    check_hook("luv", '"luv callback"')
    check_hook("collected", "__gc")
    check_hook("error", "on_error", "/chat/:room")
    check_hook("close", "on_close", "/chat/:room")
    check({ hook = "http", line = line_of "block" }, function()
      stream.connect(app.addresses[1]):write("GET /route HTTP/1.1\r\nHost: x\r\n\r\n")
    end)
    check({ hook = "validate", line = line_of "block" }, function()
      stream.connect(app.addresses[1]):write("GET /validate HTTP/1.1\r\nHost: x\r\n" ..
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n" ..
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
    end)
  end)

  it("is reported while new code is loaded, not at the start", function()
    start { workers = 1, prepare = function(folder) io.open(folder .. "/slow", "w"):close() end }
    assert.same({}, app:log_lines("event=worker_blocked"))
    os.remove(app.directory .. "/slow")
    make_file("reload")
    check({ hook = "reload", line = line_of "block" }, function() app:signal("sighup") end,
      function() assert.is_truthy(app:wait_for_log("event=reloaded")) end)
  end)

  it("is reported in on_stop", function()
    start { workers = 1 }
    make_file("stop")
    check({ hook = "on_stop", line = line_of "block" }, function() app:signal("sigterm") end)
  end)

  it("is not one whose hooks wait", function()
    start()
    assert.equal("slept", app:http("/sleep").body)
    assert.equal("came", app:http("/await").body)
    assert.same({}, app:log_lines("event=worker_blocked .*hook=http"))
  end)

  it("does not block another one", function()
    start { workers = 3 }
    local ada, bob = app:connect_on(0, "/chat/x"), app:connect_on(1, "/chat/x")
    local expected = { hook = "handle_message", endpoint = "/chat/:room", line = line_of "block" }
    check(expected, function() ada:send_text("read") end, function()
      assert.equal("hello", (bob:ask("hello")))
      assert.matches("worker=0 ", app:log_lines(line_pattern(false, expected))[1])
    end)
    assert.equal("read", (ada:receive()))
  end)

  it("is counted by hook and endpoint, and its turn in the histogram", function()
    start()
    check_message("read", {})
    local text = http.request(app.admin, "/metrics").body
    assert.is_truthy(text:find("# TYPE tidewire_worker_blocked_total counter\n", 1, true))
    local labels = '{hook="handle_message",endpoint="/chat/:room"}'
    assert.is_truthy(text:find("\ntidewire_worker_blocked_total" .. labels .. " 1\n", 1, true))
    assert.is_truthy(text:find("# TYPE tidewire_turn_seconds histogram\n", 1, true))
    local last, bound, long = 0, 0, nil
    for le, count in text:gmatch('\ntidewire_turn_seconds_bucket{le="([^"]+)"} (%d+)') do
      le = le == "+Inf" and math.huge or tonumber(le)
      assert.is_true(le > bound and tonumber(count) >= last, text)
      if le == 0.25 then long = tonumber(count) end
      bound, last = le, tonumber(count)
    end
    assert.equal(math.huge, bound)
    assert.is_true(long < last, text) -- turns above 0.25 seconds
    assert.equal(last, tonumber(text:match("\ntidewire_turn_seconds_count (%d+)")))
    assert.is_true(tonumber(text:match("\ntidewire_turn_seconds_sum ([%d.]+)")) >= 0.25)
    local stats = cjson.decode(http.request(app.admin, "/stats").body)
    assert.same({ { hook = "handle_message", endpoint = "/chat/:room", count = 1 } },
      stats.worker_blocked)
    assert.equal(13, #stats.turns)
    assert.is_true(stats.turn_seconds >= 0.25)
  end)
end)
