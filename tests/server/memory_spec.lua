-- memory_spec.lua -- scripts that want more memory than limits.memory allows: the hook fails with
-- err.kind == "memory", its connection is closed with 1011, and all others are served.

local client = require "support.client"
local chunks = require "support.chunks"
local cjson = require "cjson"
local loop = require "support.loop"
local process = require "support.process"
local server = require "support.server"
local stream = require "support.stream"

-- A client's text is Lua code; "= " and its results is the answer.
local HEAD = [[
local tw, record, uv, chunks = require "tidewire", require "record", require "luv", require "chunks"
local here = require "here"
local function note(conn, err)
  record("error", err.kind, err.hook, err.message, err.traceback, tostring(err))
  return true
end
local function closed(conn, code) record("close", code) end
local function echo(conn, message) conn:send(message) end
local function run(conn, code)
  conn:send(chunks.run(code, { conn = conn, tw = tw, uv = uv, record = record }))
end
local function bomb() local t = {} for i = 1, math.huge do t[i] = { i } end end
local app = {
  limits = { memory = "24M" }, http = {}, defaults = { validate = here.validate },
  endpoints = {
    ["/echo"] = { handle_message = echo },
    ["/run"] = { handle_message = run, on_error = note, on_close = closed },
    ["/default"] = { handle_message = run },
  },
}
app.http["/stats"] = here.route(function() return tw.json.encode(tw.stats()) end)
]]

local function start(text, options)
  options = options or {}
  options.app = HEAD .. (text or "") .. "\nreturn app"
  return server.start(options)
end

local function assert_serves(app)
  for worker = 0, app.workers - 1 do
    assert.equal("still here", (app:connect_on(worker, "/echo"):ask("still here")))
  end
end

local BOMBS = {
  ["a growing string"] = "local s = 'x' while true do s = s .. s end",
  ["strings in a table"] =
    "local t = {} for i = 1, math.huge do t[#t + 1] = ('x'):rep(1000) .. i end",
  ["a growing table"] = "local t = {} for i = 1, math.huge do t[i] = i end",
  ["a growing table of hashes"] = "local t = {} for i = 1, math.huge do t['k' .. i] = i end",
  ["nested tables"] = "local t = {} while true do t = { t } end",
  ["string.rep"] = "return #('x'):rep(1 << 40)",
  ["string.rep with a separator"] = "return #('x'):rep(1 << 32, 'yyy')",
  ["table.concat"] = [[
    local t, s = {}, ('x'):rep(1 << 16)
    for i = 1, 1 << 12 do t[i] = s end
    return #table.concat(t)]],
  ["string.format"] = [[
    local s, t = ('x'):rep(1 << 20), {}
    for i = 1, 100 do t[i] = s end
    return #('%s'):rep(100):format(table.unpack(t))]],
  ["string.format of numbers"] = [[
    local t, n = {}, {}
    for i = 1, 100 do n[i] = i end
    while true do t[#t + 1] = ('%99d'):rep(100):format(table.unpack(n)) end]],
  ["string.pack"] = "return #string.pack('s4' .. ('!16i16'):rep(10), ('x'):rep(40 << 20))",
  ["gsub"] = "return #('x'):rep(1 << 20):gsub('x', ('y'):rep(1000))",
  ["gsub by a function"] =
    "return #('x'):rep(1 << 20):gsub('x', function() return ('y'):rep(1000) end)",
  ["patterns' captures"] =
    "local t = {} for w in ('ab '):rep(4 << 20):gmatch('%a+') do t[#t + 1] = w .. #t end",
  ["utf8.char"] = [[
    local t = {}
    for i = 1, 200000 do t[i] = 0x10ffff end
    while true do t[#t + 1] = utf8.char(table.unpack(t, 1, 200)):rep(1000) end]],
  ["closures"] = "local t = {} while true do local n = #t t[n + 1] = function() return n end end",
  ["coroutines"] = [[
    local t = {}
    while true do
      local co = coroutine.create(function() coroutine.yield() end)
      coroutine.resume(co)
      t[#t + 1] = co
    end]],
  ["JSON, encoded"] = [[
    local s, t = ('x'):rep(1 << 20), {}
    for i = 1, 100 do t[i] = s end
    return #tw.json.encode(t)]],
  ["JSON, decoded"] = "return tw.json.decode('[' .. ('[1,2,{}],'):rep(1 << 20) .. '1]')",
  ["load"] = [[
    local f, message = load(('local x = {1,2,3,4} '):rep(1 << 20))
    error(message, 0)]],
  ["timers"] = "while true do tw.after(0.01, function() end) end",
  ["timers of the connection"] = "while true do conn:after(1000, function() end) end",
  ["tasks"] = "while true do tw.spawn(function() end) end",
  ["luv's timers"] = "local t = {} while true do t[#t + 1] = uv.new_timer() end",
  ["tw.keep"] = [[
    local k = tw.keep('bomb', {})
    local ok, err = pcall(function() while true do k[#k + 1] = { 1 } end end)
    for i = #k, 1, -1 do k[i] = nil end
    error(err, 0)]],
  ["rooms"] = "local i = 0 while true do i = i + 1 conn:join('room ' .. i) end",
  ["rooms with long names"] =
    "while true do conn:join(('x'):rep(1 << 19) .. math.random(1 << 40)) end",
  ["tw.array"] = "local t = {} while true do t[#t + 1] = tw.array({ 1, 2, 3 }) end",
  ["a deep recursion"] =
    "local function f(n) local t = ('x'):rep(1000) .. n return f(n + 1) .. t end return f(1)",
}

describe("a script that wants too much memory", function()
  after_each(stream.close_all)

  it("fails alone, whatever it does", function()
    local app <close> = start()
    local witness = app:connect_on(0, "/echo")
    local names = {}
    for name in pairs(BOMBS) do names[#names + 1] = name end
    table.sort(names)
    for i, name in ipairs(names) do
      local ada = app:connect_on(i % app.workers, "/run")
      ada:send_text(BOMBS[name])
      local code = ada:wait_closed()
      assert.equal(1011, code, name)
      local event = app:wait_event("error", i)
      assert.equal("memory", event[2], name .. ": " .. event[4])
      assert.equal("handle_message", event[3], name)
      if not event[4]:find("resulting string too large$") then
        assert.matches("limits.memory allows the scripts of a worker 24 MiB", event[4], 1, true)
      end
      assert.equal("still here", (witness:ask("still here")), name)
    end
    assert_serves(app)
  end)

  it("fails alone without an on_error as well, again and again", function()
    local app <close> = start(nil, { environment = { TIDEWIRE_LIMITS_MEMORY = "8M" } })
    local witness = app:connect_on(0, "/echo")
    local used = {}
    for i = 1, 100 do
      local ada = app:connect_on(0, "/default")
      ada:send_text("local t = {} while true do t[#t + 1] = ('x'):rep(100) .. #t end")
      assert.equal(1011, (ada:wait_closed()))
      assert.equal("still here", (witness:ask("still here")))
      used[i] = cjson.decode(app:http_on(0, "/stats").body).lua_memory_bytes
    end
    assert.is_true(used[100] < 5 << 20, "it keeps " .. used[100])
    local stats = cjson.decode(app:http_on(0, "/stats").body)
    assert.equal(100, stats.memory_errors)
    assert.equal((8 << 20) * app.workers, stats.lua_memory_limit_bytes)
    assert_serves(app)
  end)

  it("fails in every hook", function()
    local app <close> = start [[
      local function endpoint(hook, f)
        local handler = { on_error = note, on_close = closed, handle_message = echo }
        handler[hook] = f
        app.endpoints["/" .. hook] = handler
        return handler
      end
      endpoint("validate", bomb)
      endpoint("on_start", bomb)
      endpoint("handle_message", bomb)
      endpoint("send_ping", bomb).ping_period = 0.01
      local silent = endpoint("on_timeout", bomb)
      silent.ping_period, silent.pong_period = 0, 0.1
      endpoint("on_close", bomb)
      endpoint("timer").on_start = function(conn) conn:after(0, bomb) end
      endpoint("slept", nil).on_start = function(conn) tw.sleep(0.001) bomb() end
      endpoint("decode", nil).codec = { decode = bomb, encode = tostring }
      endpoint("json", nil).codec = "json"
      endpoint("origins").origins = bomb
      endpoint("on_error", function(_, err) record("asked", err.kind) bomb() end)
      app.endpoints["/on_error"].handle_message = bomb
    ]]
    for _, hook in ipairs { "on_start", "handle_message", "send_ping", "on_timeout", "timer",
      "slept", "decode", "json" } do
      local before = #app:events("error")
      local ada = app:connect("/" .. hook)
      if hook == "json" then
        ada:send_text("[" .. ("[[[[[[]]]]]],"):rep(70000) .. "1]")
      else
        ada:send_text("x")
      end
      local event = app:wait_event("error", before + 1)
      assert.equal("memory", event[2], hook .. ": " .. event[4])
      local names = { slept = "on_start", decode = "codec.decode", json = "handle_message" }
      assert.equal(names[hook] or hook, event[3])
      assert.equal(1011, (ada:wait_closed()), hook)
    end
    assert.has_error(function() app:connect("/validate") end)
    local _, status = client.connect(app:url("/origins"), { headers = { Origin = "http://a.b" } })
    assert.equal(500, status)
    assert.equal(1000, (app:connect("/on_close"):close(1000)))
    assert.truthy(app:wait_for_log("hook=on_close why=.*not enough memory"))
    local ada = app:connect("/on_error")
    ada:send_text("x")
    assert.equal(1011, (ada:wait_closed()))
    assert.equal("memory", app:wait_event("asked")[2])
    assert_serves(app)
  end)

  it("fails in timers, tasks and callbacks, which the log says", function()
    local app <close> = start [[
      app.on_load = function()
        tw.after(0.001, bomb)
        tw.spawn(bomb)
        tw.spawn(function() tw.sleep(0.001) bomb() end)
        local ticks = 0
        tw.every(0.005, function() ticks = ticks + 1 record("tick", ticks) bomb() end)
        uv.new_timer():start(1, 0, bomb)
      end
      app.http["/bomb"] = bomb
    ]]
    assert.truthy(app:wait_for_log("hook=timer why=.*not enough memory"))
    assert.truthy(app:wait_for_log("hook=spawn why=.*not enough memory"))
    assert.truthy(app:wait_for_log('hook="luv callback" why=.*not enough memory'))
    app:wait_event("tick", 3)
    assert.equal(500, app:http("/bomb").status)
    assert_serves(app)
  end)

  it("catches the error itself", function()
    local app <close> = start()
    local ada = app:connect("/run")
    assert.equal("false not enough memory", chunks.ask(ada,
      "return pcall(function() local t = {} while true do t = { t } end end)"))
    assert.equal("false resulting string too large true", chunks.ask(ada, [[
      local ok, message = pcall(function() return ('x'):rep(1 << 40) end)
      return ok, message:match("resulting.*"), (xpcall(function() return 1 end, print))]]))
    assert.equal("still here", chunks.ask(ada, "return 'still here'"))
    assert.equal(0, #app:events("error"))
  end)

  it("has no collection for each task and timer that it may not start", function()
    local app <close> = start()
    local ada = app:connect("/run")
    local refused, collected = chunks.ask(ada, [[
      local refused, collected, kept, weak = 0, 0, {}, setmetatable({}, { __mode = "k" })
      local function f() end
      while pcall(tw.after, 1000, f) do kept[#kept + 1] = {} end
      for _ = 1, 1000 do
        if not next(weak) then weak[{}] = true end
        if not pcall(tw.after, 1000, f) then refused = refused + 1 end
        if not next(weak) then collected = collected + 1 end
      end
      return refused, collected]]):match("^(%d+) (%d+)$")
    assert.is_true(tonumber(refused) > 500, refused .. " refused")
    assert.is_true(tonumber(collected) < 500, collected .. " collections")
    assert_serves(app)
  end)

  for name, code in pairs {
    ["watches of a room"] = "while true do tw.room('one'):watch(print) end",
    ["watches of rooms"] =
      "local i = 0 while true do i = i + 1 tw.room('room ' .. i):watch(print) end",
    ["tasks that wait"] =
      "while true do tw.spawn(function() tw.await(function() end) end) end",
    ["clients"] =
      "while true do tw.spawn(function() tw.connect('ws://127.0.0.1:1/') end) end",
    ["handles of luv"] = "while true do uv.new_check() end",
  } do
    it("leaves a part to other hooks, however many " .. name .. " it starts", function()
      local app <close> = start(nil, { workers = 1 })
      local ada = app:connect("/run")
      ada:send_text(code)
      assert.equal(1011, (ada:wait_closed()))
      assert.equal("memory", app:wait_event("error")[2])
      for _ = 1, 20 do
        local eve = app:connect("/run")
        assert.equal("200000", chunks.ask(eve, "return #('x'):rep(200000)"))
        assert.equal(1000, (eve:close(1000)))
      end
      assert_serves(app)
    end)
  end

  it("queues no works of luv without end", function()
    local app <close> = start(nil, { workers = 1 })
    local ada, path = app:connect("/run"), app.directory .. "/go_on"
    local setup = [[
      local text, path = ("x"):rep(1 << 20), '%s'
      local work = uv.new_work(function(text, path)
        local uv, file = require "luv", nil
        repeat uv.sleep(2) file = io.open(path) until file
        file:close()
        return #text
      end, function(size) record("worked", size) end)
    ]]
    setup = setup:format(path)
    local queued, message = chunks.ask(ada, setup .. [[
      local queued = -1
      for _ = 1, 30000 do assert(not pcall(work.queue, work, print)) end
      local ok, message
      repeat
        queued = queued + 1
        ok, message = pcall(work.queue, work, text, path)
      until not ok
      return queued, message]]):match("^(%d+) (.*)$")
    queued = tonumber(queued)
    assert.matches("uv.queue_work: works that wait have all the memory", message, 1, true)
    assert.is_true(queued >= 20 and queued < 40, queued) -- the pool has begun some of them
    process.write_file(path, "")
    assert.equal(1 << 20, app:wait_event("worked", queued)[2])
    for _ = 1, 3 do
      assert.equal("true", chunks.ask(ada, setup .. "return work:queue(text, path)"))
    end
    app:wait_event("worked", queued + 3)
  end)

  it("has handles of luv that are whole, or none", function()
    local app <close> = start()
    local ada = app:connect("/run")
    -- the registry, which refers to handles, grows by 64 KiB and more when there is less
    assert.equal("true", chunks.ask(ada, [[
      local timers, filled = {}, {}
      for i = 1, 3000 do timers[i] = uv.new_timer() end
      pcall(function() while true do filled[#filled + 1] = ("x"):rep(60000) .. #filled end end)
      for _ = 1, 20 do
        while pcall(uv.new_timer) do end
        collectgarbage()
      end
      filled = nil
      for i = 1, 3000 do timers[i]:close() end
      return true]]))
    assert_serves(app)
  end)

  it("keeps the collector's mode that the script has chosen", function()
    local app <close> = start "kept = {}"
    local ada = app:connect("/run")
    local function mode() return chunks.ask(ada, "return collectgarbage('incremental')") end
    assert.equal("generational", mode())
    local fill = "for i = 1, 180 do kept[i] = ('x'):rep(100000) .. i end return #kept"
    assert.equal("180", chunks.ask(ada, fill)) -- 18 of 24 MB
    assert.equal("incremental", mode())
    assert.same({ "generational", "generational" }, { -- and back
      chunks.ask(ada, "collectgarbage('generational') return collectgarbage('generational')"),
      chunks.ask(ada, "return collectgarbage('generational')") })
    assert.matches("^code:1: bad argument #1 to 'collectgarbage' .invalid option 'x'",
      chunks.ask(ada, "return select(2, pcall(function() collectgarbage('x') end))"))
    assert_serves(app)
  end)

  it("may recurse as deep as Lua allows", function()
    local app <close> = start()
    for _, code in ipairs { "local function f() return 1 + f() end f()",
      "local t = setmetatable({}, {}) getmetatable(t).__index = t return t.x",
      "return ('('):rep(100000):find(('('):rep(100000))",
      "return load(('('):rep(100000) .. '1' .. (')'):rep(100000))()",
      "local t = {} for i = 1, 100000 do t = { t } end return tw.json.encode(t)" } do
      local ada = app:connect("/run")
      ada:send_text(code)
      assert.equal(1011, (ada:wait_closed()), code)
    end
    for i, event in ipairs(app:events("error")) do
      assert.equal(i == 1 and "memory" or "script", event[2], event[4])
    end
    assert_serves(app)
  end)
end)

describe("scripts that keep all their memory", function()
  after_each(stream.close_all)

  it("fail until they let go of it, and the worker lives", function()
    local app <close> = start [[
      kept = {}
      app.endpoints["/keep"] = {
        handle_message = function(conn, message)
          if message == "free" then kept = {} collectgarbage() return conn:send("freed") end
          kept[#kept + 1] = message .. ("x"):rep(100000)
          conn:send(#kept)
        end,
        on_error = function(_, err) record("error", err.kind) return false end,
      }]]
    local ada = app:connect_on(0, "/keep")
    for i = 1, 400 do ada:send_text("more") end
    assert.equal("memory", app:wait_event("error", 20)[2])
    assert.truthy(loop.wait_until(function() -- it is said when another hook has failed, later
      ada:send_text("more")
      return app:log():find("event=memory_full", 1, true)
    end))
    assert.equal(1, #app:log_lines("event=memory_full"))
    local answer -- a hook that would free the memory may fail as well, and is called again
    for _ = 1, 60 do
      ada:send_text("free")
      repeat answer = ada:receive(1) until not answer or answer == "freed"
      if answer then break end
    end
    assert.equal("freed", answer)
    ada:send_text("more")
    repeat answer = ada:receive() until answer ~= "freed" -- there is one for each "free"
    assert.equal("1", answer)
    assert_serves(app)
  end)
end)

describe("limits.memory", function()
  after_each(stream.close_all)

  it("is below what an app takes: the start fails and says what to write", function()
    local code, log = server.launch_to_end { app = [[
      big = {}
      for i = 1, 200000 do big[i] = "text " .. i end
      return { limits = { memory = "4M" }, endpoints = { ["/"] = {} } }]] }
    assert.equal(2, code)
    assert.matches("app.lua: limits.memory: the app takes %d+.%d MiB as soon as it is loaded, and "
      .. 'the limit is 4 MiB; write limits = { memory = "%d+M" }', log)
  end)

  it("of the environment applies while the app is loaded", function()
    local code, log = server.launch_to_end {
      app = "local t = {} while true do t = { t } end",
      environment = { TIDEWIRE_LIMITS_MEMORY = "8M" },
    }
    assert.equal(2, code)
    assert.matches("limits.memory allows the scripts of a worker 8 MiB", log, 1, true)
    assert.matches("TIDEWIRE_LIMITS_MEMORY while the app is loaded", log, 1, true)
  end)

  it("changes with a reload, and a reload that needs too much harms nothing", function()
    local app <close> = start()
    local ada = app:connect("/run")
    local source = HEAD .. "\nreturn app"
    local function reload(text)
      local file = assert(io.open(app.directory .. "/app.lua", "w"))
      file:write(text)
      file:close()
      app:signal("sighup")
    end
    reload("big = {} for i = 1, 1e9 do big[i] = { i } end")
    assert.truthy(app:wait_for_log("event=reload_failed.*not enough memory"))
    assert.equal("still here", chunks.ask(ada, "return 'still here'"))
    reload((source:gsub('"24M"', '"64M"')))
    assert.truthy(app:wait_for_log("event=reloaded"))
    assert.equal(tostring(40 << 20), chunks.ask(ada, "return #('x'):rep(20 << 20) * 2"))
    assert_serves(app)
  end)

  it("is reached in on_load, on_reload and on_stop, which harms nobody", function()
    local text = HEAD .. [[
      app.endpoints["/echo"].on_reload = bomb
      app.endpoints["/echo"].on_error = function(_, err)
        record("error", err.kind, err.hook)
        return false
      end
      app.on_stop = bomb
      return app]]
    local app <close> = server.start { app = text }
    local ada = app:connect_on(0, "/echo")
    app:signal("sighup")
    local event = app:wait_event("error")
    assert.same({ "memory", "on_reload" }, { event[2], event[3] })
    assert.truthy(app:wait_for_log("event=reloaded"))
    process.write_file(app.directory .. "/app.lua", (text:gsub("on_stop", "on_load")))
    app:signal("sighup")
    assert.truthy(app:wait_for_log("event=reload_failed.*on_load: not enough memory"))
    assert.equal("still here", (ada:ask("still here")))
    assert_serves(app)
    app:signal("sigterm")
    assert.equal(0, (app.process:wait_exit()))
    assert.equal(app.workers, #app:log_lines("hook=on_stop why=.*not enough memory"))
  end)

  it("is not all a reload's: hooks of the old code go on", function()
    local app <close> = start(nil, { workers = 1 })
    local ada = app:connect("/run")
    process.write_file(app.directory .. "/app.lua", HEAD .. [[
      app.on_load = function()
        local flags, t = tw.keep("flags", { full = false, go = false })
        pcall(function() while true do t = { t } end end)
        for _ = 1, 1000 do t = t[1] end -- what follows needs a little
        flags.full = true
        repeat until flags.go
      end
      return app]])
    app:signal("sighup")
    repeat until chunks.ask(ada, "return tw.keep('flags', {}).full") == "true"
    for _ = 1, 20 do
      local eve = app:connect("/run")
      assert.equal("100000", chunks.ask(eve, "return #('x'):rep(100000)"))
      assert.equal(1000, (eve:close(1000)))
    end
    chunks.ask(ada, "tw.keep('flags').go = true")
    assert.truthy(app:wait_for_log("event=reloaded"), app:log())
    assert.equal("still here", chunks.ask(ada, "return 'still here'"))
    assert_serves(app)
  end)
end)
