-- reload_spec.lua -- new code replaces the running code: what stays, what changes, what is
-- reported.

local http = require "support.http"
local loop = require "support.loop"
local reloads = require "support.reloads"
local server = require "support.server"
local stream = require "support.stream"

--- An app whose answers have its version; `more` are lines of its table, `top` runs first.
local function app_of(version, more, top)
  return ([[
local here, record, tw = require "here", require "record", require "tidewire"
local VERSION = %q
%s
return {
  defaults = { validate = here.validate, ping_period = 0 },
  endpoints = {
    ["/"] = {
      on_close = function(conn) record("close", VERSION, conn.id) end,
      handle_message = function(conn, message) conn:send(VERSION .. " " .. message) end,
    },
  },
  http = { ["/version"] = function() return VERSION end },
%s
}
]]):format(version, top or "", more or "")
end

--- An app with one endpoint, "/", of these lines; `top` runs first, `more` are lines of the app.
local function handler_of(lines, top, more)
  return ([[
local here, record, tw = require "here", require "record", require "tidewire"
%s
return {
  defaults = { validate = here.validate, ping_period = 0 },
  endpoints = { ["/"] = { %s } },
%s
}
]]):format(top or "", lines, more or "")
end

describe("a reload", function()
  after_each(stream.close_all)

  describe("that fails", function()
    local broken = {
      ["a syntax error"] = { "return {\n  endpoints = {", { "app%.lua:2: ", "expected" } },
      ["an error while it runs"] = {
        "local function boom()\n  error('no luck')\nend\nboom()\nreturn {}",
        { "app%.lua:2: no luck", "stack traceback:", "app%.lua:4:" },
      },
      ["an error that is a table"] = { "error({})", { "app%.lua", "table" } },
      ["a module that is missing"] = {
        "require 'nowhere'\nreturn {}", { "app%.lua:1: module 'nowhere' not found" },
      },
      ["a wrong option"] = {
        app_of("new", "limits = { conections = 5 }"), { "app%.lua:%d+: ", "connections" },
      },
      ["a hook that is no function"] = {
        "return { handle_message = 'hello' }", { "app%.lua", "handle_message" },
      },
      ["an error in on_load"] = {
        app_of("new", "on_load = function() tw.sleep(0.001) error('not yet') end"),
        { "on_load: .-app%.lua:%d+: not yet", "stack traceback:" },
      },
      ["an error after it has slept"] = {
        "require('tidewire').sleep(0.001)\nerror('late')",
        { "app%.lua:2: late", "stack traceback:" },
      },
      ["something that is no table"] = { "return 7", { "app%.lua", "must return" } },
      ["another shape in each worker"] = {
        "local tw = require 'tidewire'\nif tw.worker == 0 then error('only here') end\n"
          .. app_of("new"),
        { "app%.lua:2: only here", "stack traceback:" },
      },
    }

    it("leaves everything as it was, says why, and counts", function()
      local app <close> =
        server.start({ app = app_of("old"), options = { "--admin", "127.0.0.1:0" } })
      local peers = {}
      for worker = 0, app.workers - 1 do peers[worker] = app:connect_on(worker) end
      local count = 0
      for what, case in pairs(broken) do
        local why = reloads.bad(app, case[1])
        count = count + 1
        for _, pattern in ipairs(case[2]) do
          assert(why:find(pattern), ("%s: %q is not in %s"):format(what, pattern, why))
        end
        for worker = 0, app.workers - 1 do
          assert.equal("old " .. what, (peers[worker]:ask(what)))
        end
        assert.equal("old", app:http("/version").body, what)
        assert.equal(200, http.request(app.admin, "/readyz").status, what)
        local metrics = http.request(app.admin, "/metrics").body
        assert(metrics:find("tidewire_reload_failures_total " .. count, 1, true), what)
      end
      assert.equal(2, reloads.good(app, app_of("new")))
      assert.equal("new at last", (peers[0]:ask("at last")))
    end)

    it("is one for all when a single worker's code fails", function()
      local app <close> = server.start({ app = app_of("old"), workers = 3 })
      local peers = {}
      for worker = 0, 2 do peers[worker] = app:connect_on(worker) end
      for worker = 0, 2 do
        local only = ("if tw.worker == %d then error('only here') end"):format(worker)
        local why = reloads.bad(app, app_of("new", nil, only))
        assert(why:find("only here", 1, true), why)
        why = reloads.bad(app, app_of("new", ("on_load = function() %s end,"):format(only)))
        assert(why:find("on_load", 1, true), why)
        for each = 0, 2 do assert.equal("old x", (peers[each]:ask("x"))) end
      end
      local why = reloads.bad(app, [[
        local tw = require "tidewire"
        return { endpoints = { ["/" .. tw.worker] = {} } }]])
      assert(why:find("other endpoints or codecs in some workers", 1, true), why)
      assert.equal(2, reloads.good(app, app_of("new")))
      for each = 0, 2 do assert.equal("new x", (peers[each]:ask("x"))) end
    end)

    it("leaves nothing that it has started", function()
      local app <close> = server.start({ app = app_of("old") })
      reloads.bad(app, [[
        local record, tw = require "record", require "tidewire"
        tw.every(0.005, function() record("ghost", "timer") end)
        tw.spawn(function() local _ <close> =
          setmetatable({}, { __close = function() record("ended", tw.worker) end })
          while true do tw.sleep(0.005) record("ghost", "spawn") end end)
        tw.room("hall"):watch(function() record("ghost", "watch") end)
        tw.sleep(0.02)
        error("no")]])
      app:wait_event("ended", app.workers)
      local seen = #app:events("ghost")
      reloads.good(app, app_of("new", nil, 'tw.after(0.05, function() record("later") end)'))
      app:wait_event("later")
      assert.equal(seen, #app:events("ghost"))
    end)
  end)

  it("loads code that waits, wherever its slices of time end", function()
    local app <close> = server.start({ app = app_of("old") })
    reloads.good(app, app_of("new", "", [[
      for i = 1, 400 do
        local before = os.clock()
        repeat until os.clock() - before > 0.0019 + i * 1e-6 -- a slice is over just now, or soon
        if i % 2 == 0 then tw.sleep(0) else tw.await(function(done) tw.after(0, done) end) end
      end
    ]]))
    assert.equal("new x", (app:connect("/"):ask("x")))
  end)

  describe("keeps", function()
    it("connections with their fields, rooms, tw.keep and tw.shared", function()
      local function code(version)
        return handler_of([[
          on_start = function(conn)
            conn.first_version = VERSION
            conn:join("hall")
            conn:send("in")
          end,
          handle_message = function(conn, message)
            if message == "say" then
              return tw.room("hall"):broadcast(VERSION .. " hello") and nil
            end
            local keep = tw.keep("counts", { n = 0 })
            keep.n = keep.n + 1
            conn:send(("%s %s %d %d %d %s"):format(
              VERSION, conn.first_version, keep.n, tw.shared("all"):incr("n"),
              tw.room("hall"):size(), conn.id))
          end,
        ]], ("local VERSION = %q"):format(version))
      end
      local app <close> = server.start({ app = code "a" })
      local ada, bob = app:connect_on(0), app:connect_on(app.workers - 1)
      assert.equal("in", (ada:receive()))
      assert.equal("in", (bob:receive()))
      local id = ada:ask("x"):match("^a a 1 1 2 (%w+)$")
      assert(id)
      reloads.good(app, code "b")
      assert.equal("b a 2 2 2 " .. id, (ada:ask("x")))
      ada:send_text("say")
      assert.equal("b hello", (ada:receive()))
      assert.equal("b hello", (bob:receive()))
      reloads.good(app, code "c")
      assert.equal("c a 3 3 2 " .. id, (ada:ask("x")))
      bob:send_text("say")
      assert.equal("c hello", (ada:receive()))
      assert.equal("c hello", (bob:receive()))
    end)

    it("messages queued for a slow client, in order", function()
      local function code(version)
        return handler_of([[
          max_backlog = "8M",
          handle_message = function(conn)
            for i = 1, 2000 do conn:send(("%s %d "):format(VERSION, i) .. ("x"):rep(1000)) end
            record("sent", conn.backlog)
          end,
        ]], ("local VERSION = %q"):format(version))
      end
      local app <close> = server.start({ app = code "a" })
      local ada = app:connect("/", { receive_buffer = 4096 })
      ada.stream:pause()
      for number, version in ipairs { "a", "b", "c" } do
        if number > 1 then reloads.good(app, code(version)) end
        ada:send_text("go")
        assert(app:wait_event("sent", number)[2] > 0)
      end
      ada.stream:catch_up()
      for _, version in ipairs { "a", "b", "c" } do
        for i = 1, 2000 do
          assert.equal(("%s %d"):format(version, i), ada:receive():match("^%a %d+"))
        end
      end
    end)

    it("a sleeping hook in the code in which it began; the next hook is new code", function()
      local function code(version)
        return handler_of([[
          handle_message = function(conn, message)
            if message == "sleep" then
              record("asleep")
              while not tw.shared("signals"):get("given") do tw.sleep(0.002) end
            end
            conn:send(VERSION .. " " .. message)
          end,
        ]], ("local VERSION = %q"):format(version),
          'on_reload = function() tw.shared("signals"):set("given", VERSION == "ring" or nil) end')
      end
      local app <close> = server.start({ app = code "a" })
      local ada = app:connect("/")
      ada:send_text("sleep")
      ada:send_text("one")
      app:wait_event("asleep")
      reloads.good(app, code "b")
      ada:send_text("two")
      reloads.good(app, code "ring")
      assert.same({ "a sleep", "ring one", "ring two" }, ada:receive_many(3))
    end)

    it("timers of connections, and ends timers that the old code made at its load", function()
      local function code(version)
        return handler_of([[
          on_start = function(conn)
            conn:every(0.005, function() record("conn", VERSION) end)
            tw.every(0.005, function() record("hook", VERSION) end)
          end,
          handle_message = function(conn, message) conn:send(VERSION .. message) end,
        ]], ("local VERSION = %q\n"):format(version) .. [[
          tw.every(0.005, function() record("top", VERSION, tw.generation) end)
          tw.after(0, function() tw.every(0.005, function() record("in a timer", VERSION) end) end)
          tw.spawn(function() while true do tw.sleep(0.005) record("spawned", VERSION) end end)
        ]])
      end
      local app <close> = server.start({ app = code "a" })
      local ada = app:connect("/")
      local names = { "top", "in a timer", "spawned", "conn", "hook" }
      for _, name in ipairs(names) do app:wait_event(name, 3) end
      reloads.good(app, code "b")
      ada:ask("x")
      local before = {}
      for _, event in ipairs(app:events()) do
        local key = event[1] .. event[2]
        before[key] = (before[key] or 0) + 1
      end
      local function count(name, version)
        local n = 0
        for _, event in ipairs(app:events(name)) do n = n + (event[2] == version and 1 or 0) end
        return n
      end
      for _, name in ipairs(names) do
        local version = (name == "conn" or name == "hook") and "a" or "b"
        local enough = (before[name .. version] or 0) + 3 * app.workers
        assert(loop.wait_until(function() return count(name, version) >= enough end), name)
      end
      for _, name in ipairs { "top", "in a timer", "spawned" } do
        assert.equal(before[name .. "a"], count(name, "a"), name)
      end
      assert.equal(0, count("conn", "b"))
      ada:close(1000)
    end)
  end)

  describe("calls", function()
    it("on_load, on_reload(old), on_reload(conn) before the next message, and on_stop", function()
      local function code(version)
        return handler_of([[
          on_reload = function(conn)
            record("conn", VERSION, tw.generation)
            tw.sleep(0.001)
            conn.seen = (conn.seen or "") .. VERSION
          end,
          handle_message = function(conn, message)
            conn:send(("%s %s %s"):format(VERSION, conn.seen, message))
          end,
        ]], ("local VERSION = %q"):format(version), [[
          on_load = function() record("load", VERSION, tw.generation) end,
          on_reload = function(old)
            record("reload", VERSION, type(old.endpoints["/"].handle_message))
          end,
          on_stop = function() record("stop", VERSION) end,
        ]])
      end
      local app = server.start({ app = code "a", workers = 1 })
      local ada = app:connect("/")
      assert.equal("a nil x", (ada:ask("x")))
      reloads.good(app, code "b")
      assert.equal("b b y", (ada:ask("y")))
      reloads.good(app, code "c")
      app:wait_event("conn", 2) -- without a message
      assert.equal("c bc z", (ada:ask("z")))
      local eve = app:connect("/") -- has not seen another code
      assert.equal("c nil z", (eve:ask("z")))
      local seen = {}
      for _, event in ipairs(app:events()) do
        seen[#seen + 1] = table.concat(event, " ", 1, event.n)
      end
      assert.same({ "load a 1", "load b 2", "reload b function", "conn b 2", "load c 3",
        "reload c function", "conn c 3" }, seen)
      ada:close(1000)
      eve:close(1000)
      app:signal("sigterm")
      app.process:wait_exit()
      local stops = {}
      for _, event in ipairs(app:events("stop")) do stops[#stops + 1] = event[2] end
      assert.same({ "c" }, stops)
      app:stop()
    end)

    it("on_error with what on_reload throws", function()
      local app <close> = server.start({ app = app_of("a") })
      local ada = app:connect("/")
      assert.equal("a x", (ada:ask("x")))
      reloads.good(app, handler_of([[
        on_reload = function() error("cannot go on") end,
        on_error = function(conn, err)
          conn:send(err.hook .. " " .. err.message)
          return conn.path == "/bad"
        end,
        handle_message = function(conn, message) conn:send("b " .. message) end,
      ]]))
      assert(ada:receive():find("^on_reload .*cannot go on$"))
      assert.equal("b y", (ada:ask("y")))
      reloads.good(app, handler_of('on_reload = function() error("cannot go on") end'))
      assert.equal(1011, (ada:wait_closed()))
    end)

    it("no hook that the new code has not: what waits meanwhile", function()
      local app <close> = server.start({ app = handler_of([[
        ping_period = 0.01, pong_period = 0.03,
        on_reload = function() end,
        send_ping = function() record("ping") end,
        on_timeout = function() record("silent") return false end,
        on_drain = function() end,
        handle_message = function(conn)
          record("asleep")
          while not tw.shared("signals"):get("given") do tw.sleep(0.002) end
          conn:send("slept")
        end,
      ]]) })
      local ada = app:connect("/")
      app:wait_event("ping")
      app:wait_event("silent")
      ada:send_text("sleep")
      app:wait_event("asleep")
      ada:send_text("without a hook")
      -- a ping and a timeout are due now, and a reload soon
      reloads.good(app, handler_of('on_reload = function() record("reload") end, pong_period = 0'))
      loop.pass(0.05)
      local ring =
        'http = { ["/ring"] = function() tw.shared("signals"):set("given", true) return 204 end }'
      reloads.good(app, handler_of("pong_period = 0", "", ring))
      assert.equal(204, app:http("/ring").status) -- all workers have the new code by now
      assert.equal("slept", (ada:receive()))
      reloads.good(app, app_of("new"))
      assert.equal("new x", (ada:ask("x")))
      assert.same({}, app:log_lines("script_error"))
      assert.equal(0, #app:events("reload"))
    end)
  end)

  describe("changes", function()
    it("limits of live connections", function()
      local app <close> = server.start({ app = handler_of([[
        handle_message = function(conn, message) conn:send(#message) end,
      ]]) })
      local ada, bob = app:connect("/"), app:connect("/")
      assert.equal("5000", (ada:ask(("x"):rep(5000))))
      reloads.good(app, handler_of([[
        max_message_size = 1000, max_connections = 2, origins = { "https://here.example" },
        ping_period = 0.05,
        handle_message = function(conn, message) conn:send(#message) end,
      ]]))
      assert.equal("1000", (ada:ask(("x"):rep(1000))))
      ada:send_text(("x"):rep(1001))
      assert.equal(1009, (ada:wait_closed()))
      assert.is_true(bob:wait_pings(2))
      local refused, status = pcall(app.connect, app, "/", { origin = "https://there.example" })
      assert.is_false(refused)
      assert(status:find("403", 1, true), status)
      app:connect("/", { origin = "https://here.example" })
      refused, status = pcall(app.connect, app, "/", { origin = "https://here.example" })
      assert.is_false(refused)
      assert(status:find("503", 1, true), status)
    end)

    it("the functions of an own codec, for live connections and for broadcasts to them", function()
      local function code(codec, top)
        return handler_of(([[
          codec = %s,
          on_start = function(conn) conn:join("hall") end,
          handle_message = function(conn, message)
            if message == "say" then tw.room("hall"):broadcast("all") else conn:send(message) end
          end,
        ]]):format(codec), top)
      end
      local own = '{ decode = function(p) return p:lower() end, encode = function(v) return %q .. '
        .. 'v, "binary" end }'
      local app <close> = server.start({ app = code(own:format("0")) })
      local peers = { app:connect_on(0), app:connect_on(app.workers - 1) }
      for _, peer in ipairs(peers) do assert.equal("0x", (peer:ask("x"))) end -- both are in
      for _, mark in ipairs { "1", "2", "3" } do
        reloads.good(app, code(own:format(mark)))
        assert.equal(mark .. "x", (peers[1]:ask("X")))
        peers[1]:send_text("SAY")
        for _, peer in ipairs(peers) do
          assert.same({ mark .. "all", "binary" }, { peer:receive() })
        end
      end
      for _, peer in ipairs(peers) do assert.equal(1000, (peer:close(1000))) end
    end)

    it("endpoints: new ones open, removed ones keep their code, and can come back", function()
      local function code(version, paths, more)
        local list = {}
        for path in paths:gmatch("%S+") do
          list[#list + 1] = ("[%q] = { handle_message = answer }"):format(path)
        end
        return ([[
          local here, VERSION = require "here", %q
          local function answer(conn, message) conn:send(VERSION .. " " .. conn.name .. message) end
          return { defaults = { validate = here.validate }, endpoints = { %s }, %s }
        ]]):format(version, table.concat(list, ", "), more or "")
      end
      local app <close> = server.start({ app = code("a", "/one /two") })
      local one, two = app:connect("/one"), app:connect("/two")
      reloads.good(app, code("b", "/two /three"))
      assert.equal("a /onex", (one:ask("x")))
      assert.equal("b /twox", (two:ask("x")))
      assert.equal("b /threex", (app:connect("/three"):ask("x")))
      local ok, status = pcall(app.connect, app, "/one")
      assert.is_false(ok)
      assert(status:find("404", 1, true), status)
      reloads.good(app, code("c", "/one /two"))
      assert.equal("c /onex", (one:ask("x")))
      assert.equal("c /onex", (app:connect("/one"):ask("x")))
      reloads.good(app, code("d", "/two"))
      assert.equal("c /onex", (one:ask("x")))
      reloads.good(app, code("e", "/two", 'removed_endpoints = "close"'))
      assert.equal(1012, (one:wait_closed()))
      assert.equal("e /twox", (two:ask("x")))
      reloads.good(app, code("f", "/three", 'removed_endpoints = "close"'))
      assert.equal(1012, (two:wait_closed()))
    end)

    it("routes and the app's modules", function()
      local app <close> = server.start({
        app = 'local part = require "part"\nreturn { http = { ["/"] = function() return '
          .. 'part.name end } }',
        files = { ["part.lua"] = 'return { name = "a" }' },
      })
      assert.equal("a", app:http("/").body)
      reloads.good(app, { ["part.lua"] = 'return { name = "b" }' })
      assert.equal("b", app:http("/").body)
      assert(reloads.bad(app, { ["part.lua"] = 'return {' }):find("part.lua:1: ", 1, true))
      assert.equal("b", app:http("/").body)
      reloads.good(app,
        { ["app.lua"] = 'return { http = { ["/other"] = function() return "c" end } }' })
      assert.equal(404, app:http("/").status)
      assert.equal("c", app:http("/other").body)
    end)

    it("not `listen`, `workers` and `admin`: those want a restart, and say so", function()
      local app <close> =
        server.start({ app = app_of("a", 'listen = "127.0.0.1:0", workers = 2,'), listen = {} ,
        environment = { TIDEWIRE_WORKERS = false } })
      reloads.good(app, app_of("b", 'listen = "127.0.0.1:1", workers = 3, admin = "127.0.0.1:0",'
        .. "limits = { connections = 10001 },"))
      for _, name in ipairs { "listen", "workers", "admin", "limits.connections" } do
        assert.equal(1, #app:log_lines("warn event=configuration .*" .. name .. ".*restart"), name)
      end
      assert.equal("b x", (app:connect("/"):ask("x")))
    end)
  end)

  it("is visible: the generation in tw, /stats and each line of a connection", function()
    local app <close> = server.start({
      app = handler_of("handle_message = function(conn) conn:send(tw.generation) "
        .. "tw.log.info('hello') end"),
      options = { "--admin", "127.0.0.1:0", "--log-level", "debug" },
    })
    local ada = app:connect("/")
    assert.equal("1", (ada:ask("x")))
    assert.equal(2, reloads.good(app))
    assert.equal("2", (ada:ask("x")))
    local id = app:log_lines("event=opened")[1]:match("conn=(%w+)")
    assert.equal(1, #app:log_lines("event=opened conn=" .. id .. " generation=1"))
    assert.equal(1, #app:log_lines("event=script .*conn=" .. id .. ".*generation=1"))
    assert.equal(1, #app:log_lines("event=script .*conn=" .. id .. ".*generation=2"))
    ada:close(1000)
    assert(app:wait_for_log("event=closed conn=" .. id .. " generation=2"))
    local stats = http.request(app.admin, "/stats").body
    assert(stats:find('"generation": ?2'), stats)
    assert(stats:find('"reloads": ?1'), stats)
    assert(http.request(app.admin, "/metrics").body:find("tidewire_reload_pause_seconds", 1, true))
  end)
end)
