-- reload_spec.lua -- new code is loaded, then activated or discarded: what all generations share,
-- what each one has, and what ends.

local fake_app = require "support.fake_app"

local world

-- What scripts of a spec say, and leave for it.
local seen

before_each(function()
  world = fake_app:install()
  seen = {}
  world.core.watched = {}
  world.core.watch = function(name, on) world.core.watched[name] = on or nil end
  package.loaded["tidewire.spec_of_reload"] = function(...)
    seen[#seen + 1] = table.concat({ ... }, " ")
  end
end)
after_each(function() world:uninstall() end)

local TOP = 'local tw, note = require "tidewire", require "tidewire.spec_of_reload"\n'

--- A handler of "/" that consists of these lines.
local function handler(lines, top)
  return ("%s%s\nreturn { endpoints = { [\"/\"] = { %s } } }"):format(TOP, top or "", lines)
end

local function echo(version)
  return handler(("handle_message = function(conn, message) conn:send(%q .. message) end")
    :format(version))
end

--- An app with these endpoints, each of which returns the version.
local function app_of(version, paths, more)
  local lines = {}
  for path in paths:gmatch("%S+") do
    lines[#lines + 1] =
      ("[%q] = { handle_message = function(conn, message) conn:send(%q .. message) end },")
        :format(path, version)
  end
  return ("%sreturn { endpoints = { %s }, %s }"):format(TOP, table.concat(lines), more or "")
end

local function start(text)
  local task = world:load(text)
  assert(task.results and task.results[1], "it did not load")
end

local function ask(conn, message)
  local before = #world:payloads(conn)
  world:receive(conn, message)
  return world:payloads(conn)[before + 1]
end

describe("a live connection", function()
  it("has the new code with its next hook, and its endpoint is the same table", function()
    start(echo "a")
    local conn = world:connect()
    local endpoint = rawget(conn, require("tidewire.conn_keys").ENDPOINT)
    assert.equal("a1", ask(conn, "1"))
    world:load_and_activate(echo "b")
    assert.equal("b2", ask(conn, "2"))
    assert.equal(endpoint, rawget(conn, require("tidewire.conn_keys").ENDPOINT))
    assert.equal(1, #world.endpoints) -- C's
    assert.equal("b3", ask(world:connect(), "3"))
  end)

  it("loses hooks and options that the new code has not", function()
    start(handler 'name = "old", on_close = function() note "closed" end')
    local conn = world:connect()
    assert.equal("old", conn.name)
    world:load_and_activate(echo "b")
    assert.equal("/", conn.name)
    world:close(conn)
    assert.same({}, seen)
  end)

  it("sends with the new codec, own ones included; what the script has put there stays", function()
    start(echo "")
    local conn, other = world:connect(), world:connect()
    local function own() return true end
    other.send = own
    local function send(value)
      conn:send(value)
      local list = world:payloads(conn)
      return list[#list]
    end
    world:load_and_activate(handler 'codec = "json"')
    assert.equal('{"a":1}', send { a = 1 })
    for version = 1, 3 do
      world:load_and_activate(handler(
        ('codec = { encode = function(v) return "own%d" .. v end, decode = tostring }')
          :format(version)))
      assert.equal(("own%dx"):format(version), send "x")
    end
    world:load_and_activate(handler 'codec = "binary"')
    assert.equal("x", send "x")
    assert.equal("binary", world.sent[#world.sent].kind)
    assert.equal(own, other.send)
    local fields = {}
    for key in pairs(conn) do fields[#fields + 1] = key end
    assert.same({}, fields)
  end)

  it("gets on_reload as an event of its own, whose error goes to on_error", function()
    start(echo "a")
    local conn = world:connect()
    world:load_and_activate(handler [[
      on_reload = function(conn) note("reload", conn.id) error("no") end,
      on_error = function(_, err) note(err.hook) return false end]])
    assert.is_true(world.endpoints[1].has_reload)
    world:hook("reloaded", conn)
    assert.same({ "reload " .. conn.id, "on_reload" }, seen)
  end)
end)

describe("codecs", function()
  local function own(mark)
    return ('codec = { encode = function(v) return %q .. v end, decode = tostring }'):format(mark)
  end

  local function two(one, other)
    return ('%sreturn { endpoints = { ["/a"] = { %s }, ["/b"] = { %s } } }'):format(TOP, one, other)
  end

  local function names_now()
    return { world.endpoints[1].codec_name, world.endpoints[2].codec_name }
  end

  local function encode(number, value)
    local codec = require("tidewire.registry").codecs[number]
    return codec and require("tidewire.codecs").encode(codec, value) or nil
  end

  it("of scripts have their endpoint's name and number in each generation, and its code", function()
    start(two(own "a", own "b"))
    assert.same({ "custom:/a", "custom:/b" }, names_now())
    world:load_and_activate(two(own "c", own "d"))
    assert.same({ "custom:/a", "custom:/b" }, names_now())
    assert.same({ "cx", "dx" }, { encode(3, "x"), encode(4, "x") })
    world:load_and_activate(two('codec = "json"', own "e"))
    assert.same({ "json", "custom:/b" }, names_now())
    assert.same({ "ex", '"x"' }, { encode(4, "x"), encode(2, "x") })
  end)

  it("that no endpoint has any more are let go at once", function()
    start(two(own "a", own "b"))
    world:load_and_activate(two(own "c", ""))
    assert.equal("cx", encode(3, "x"))
    assert.is_nil(encode(4, "x"))
  end)

  it("of an app that is discarded change nothing", function()
    start(two("", own "a"))
    assert.is_not_nil(world:reload(two(own "n", 'codec = "json"')).app)
    world:discard()
    assert.same({ "text", "custom:/b" }, names_now())
    assert.same({ nil, "ax" }, { encode(3, "x"), encode(4, "x") })
  end)

  it("of endpoints that are no more stay", function()
    start(two(own "a", own "b"))
    local conn = world:connect("/a")
    for version = 1, 3 do
      world:load_and_activate(('%sreturn { endpoints = { ["/b"] = { %s } } }')
        :format(TOP, own(version)))
      assert.same({ "ax", version .. "x" }, { encode(3, "x"), encode(4, "x") })
    end
    world:close(conn)
  end)
end)

describe("an endpoint that is no more", function()
  it("keeps its code for its connections, and takes no new ones", function()
    start(app_of("a", "/one /two"))
    local one = world:connect("/one")
    world:load_and_activate(app_of("b", "/two"))
    assert.equal("a1", ask(one, "1"))
    assert.equal(404, world:handshake("/one").status)
    world:load_and_activate(app_of("c", "/two"))
    assert.equal("a2", ask(one, "2"))
    assert.same({}, world.closed_endpoints)
  end)

  it("comes back with the number that it had", function()
    start(app_of("a", "/one /two"))
    local one = world:connect("/one")
    world:load_and_activate(app_of("b", "/two"))
    world:load_and_activate(app_of("c", "/one /two /three"))
    assert.equal("c1", ask(one, "1"))
    assert.equal(0, world:handshake("/one").endpoint)
    assert.equal(2, world:handshake("/three").endpoint)
  end)

  it("is closed by removed_endpoints, also when removed before", function()
    start(app_of("a", "/one /two"))
    world:connect("/one")
    world:load_and_activate(app_of("b", "/two"))
    world:load_and_activate(app_of("c", "/two", 'removed_endpoints = "close"'))
    assert.same({ { 0, 1012, "this endpoint is no more" } }, world.closed_endpoints)
  end)

  it("is reached by broadcasts as long as it has connections", function()
    start(TOP .. [[return { endpoints = {
      ["/one"] = {
        codec = "json", handle_message = function() tw.broadcast("x", { endpoint = "/one" }) end,
      },
      ["/two"] = {},
    } }]])
    local published = {}
    world.core.publish = function(_, endpoint, _, _, _, ...)
      for i = 1, select("#", ...), 3 do
        local codec, payload = select(i, ...)
        table.insert(published, { payload, codec, endpoint })
      end
      return 1
    end
    local one = world:connect("/one")
    world:load_and_activate(app_of("b", "/two", "on_reload = function() tw.broadcast('y') end,"))
    assert.same({ { "y", 0 }, { '"y"', 2 } }, published)
    world:receive(one, "1")
    assert.same({ '"x"', 2, 0 }, published[3])
    assert.same({}, world.failures)
  end)

  it("releases its code when its connections have closed", function()
    local alive = setmetatable({}, { __mode = "k" })
    package.loaded["tidewire.spec_of_reload"] = function(value) alive[value] = true end
    start(TOP .. [[
      local mark = {}
      note(mark)
      return { endpoints = {
        ["/one"] = { codec = { encode = function()
          return mark and ""
        end, decode = function() return mark end } },
        ["/two"] = {},
      } }]])
    local one = world:connect("/one")
    local function count()
      collectgarbage()
      collectgarbage()
      local n = 0
      for _ in pairs(alive) do n = n + 1 end
      return n
    end
    for _ = 1, 3 do world:load_and_activate(app_of("b", "/two")) end
    assert.equal(1, count())
    world:close(one)
    world:forget(one)
    world:load_and_activate(app_of("c", "/two"))
    world:load_and_activate(app_of("c", "/two"))
    assert.equal(0, count())
    -- code that still has it may read it
    assert.equal("tidewire.Conn", tostring(one):match("^[%w.]+"))
    world:load_and_activate(app_of("d", "/one"))
    assert.equal("d1", ask(world:connect("/one"), "1"))
  end)
end)

describe("what the old code had started while it was loaded", function()
  it("ends timers, timers made in timers, and functions that sleep or have not begun", function()
    start(handler("", [[
      tw.every(1, function() note("every") end)
      tw.after(1, function() tw.every(1, function() note("in a timer") end) end)
      tw.spawn(function()
        local _ <close> = setmetatable({}, { __close = function() note("closed") end })
        while true do tw.sleep(1) note("spawned") end
      end)
    ]]))
    world:advance(2)
    table.sort(seen)
    assert.same({ "every", "every", "in a timer", "spawned", "spawned" }, seen)
    seen = {}
    assert.is_not_nil(world:reload(handler("", [[tw.spawn(note, "new")]])).app)
    world:activate()
    assert.same({ "closed" }, seen)
    world:advance(5)
    assert.same({ "closed", "new" }, seen)
    assert.same({}, world.timers)
    assert.same({}, world.tasks)
  end)

  it("ends watches of rooms, and functions that they call", function()
    start(handler("", 'tw.room("hall"):watch(function(event) tw.sleep(1) note(event) end)'))
    assert.is_true(world.core.watched.hall)
    world:event("presence_changed", 0, 1, "hall", "join", '"/"')
    world:turn()
    world:load_and_activate(handler "")
    assert.same({}, world.core.watched)
    world:advance(5)
    assert.same({}, seen)
  end)

  it("ends: what on_load and the app's on_reload have started", function()
    local function text(version)
      return ([[%s
        local function begin(what) tw.every(1, function() note(%q, what, tw.generation) end) end
        return { endpoints = { ["/"] = {} }, on_load = function() begin "load" end,
          on_reload = function() begin "reload" end }]]):format(TOP, version)
    end
    start(text "a")
    world:advance(1)
    world:load_and_activate(text "b")
    world:advance(1)
    world:load_and_activate(text "c")
    world:advance(1)
    assert.same({ "a load 1", "b load 2", "b reload 2", "c load 3", "c reload 3" }, seen)
  end)

  it("does not end: what hooks have started, and timers of connections", function()
    start(handler([[on_start = function(conn)
      conn:every(1, function() note("conn") end)
      tw.every(1, function() note("tw") end)
      tw.spawn(function() tw.sleep(1) note("spawned") end)
    end]]))
    local conn = world:connect()
    world:load_and_activate(handler "")
    world:advance(1)
    table.sort(seen)
    assert.same({ "conn", "spawned", "tw" }, seen)
    world:close(conn)
    world:advance(1)
    assert.equal("tw", seen[4])
    assert.is_nil(seen[5])
  end)
end)

describe("code that is discarded", function()
  local cases = {
    ["a syntax error"] = { "return {", ":1: unexpected symbol" },
    ["an error"] = { "local x = nil\nreturn x.y", ":2: attempt to index" },
    ["a wrong option"] = { 'return { endpoints = { ["/"] = { codec = "jsno" } } }', "jsno" },
    ["an error in on_load"] = {
      'return { endpoints = { ["/"] = {} }, on_load = function() error("not now") end }',
      "on_load: .*not now.*traceback",
    },
  }
  for what, case in pairs(cases) do
    it("changes nothing: " .. what, function()
      start(echo "a")
      local conn = world:connect()
      local loaded = world:reload(case[1])
      assert.is_nil(loaded.app)
      assert.matches(case[2], loaded.problems)
      world:discard()
      assert.equal("a1", ask(conn, "1"))
      assert.equal("a2", ask(world:connect(), "2"))
    end)
  end

  it("leaves nothing that it has started, also where it still waits", function()
    start(echo "a")
    local timers = 0
    for _ in pairs(world.timers) do timers = timers + 1 end
    assert.is_nil(world:reload(handler("", [[
      tw.every(1, function() note("ghost") end)
      local _ <close> = setmetatable({}, { __close = function() note("closed") end })
      tw.sleep(10)
      note("awake")]])))
    world:advance(0.5)
    world:discard()
    assert.same({ "closed" }, seen)
    world:advance(20)
    assert.same({ "closed" }, seen)
    assert.same({}, world.timers)
    assert.is_nil(world.loaded)
  end)

  it("in which another worker's has failed is dropped whole", function()
    start(echo "a")
    local conn = world:connect()
    assert.is_not_nil(world:reload(handler("", "tw.every(1, note)")).app)
    world:discard()
    assert.equal("a1", ask(conn, "1"))
    assert.same({}, world.timers)
    world:load_and_activate(echo "b")
    assert.equal("b2", ask(conn, "2"))
  end)
end)

describe("each generation", function()
  it("has its own number, globals and modules, and shares libraries", function()
    local text = TOP .. [[
      local json, later = require "tidewire.json", tw.generation
      note(tw.generation, tostring(GLOBAL), tostring(package.loaded.mine), json == tw.json)
      GLOBAL = "global"
      package.preload.mine = function() return "module " .. later end
      note(require "mine", package.loaded.mine, tostring(rawget(_G, "GLOBAL")))
      local function handle_message() note("hook", tw.generation, require "mine") end
      return { endpoints = { ["/"] = { handle_message = handle_message } } }]]
    start((text:gsub("json == tw.json", '"json"')))
    local conn = world:connect()
    world:receive(conn, "x")
    assert.is_not_nil(world:reload((text:gsub("json == tw.json", '"json"'))).app)
    world:receive(conn, "x") -- the old code, beside the new
    world:activate()
    world:receive(conn, "x")
    assert.same({
      "1 nil nil json", "module 1 module 1 global", "hook 1 module 1",
      "2 nil nil json", "module 2 module 2 global", "hook 1 module 1", "hook 2 module 2",
    }, seen)
    assert.is_nil(package.loaded.mine)
    assert.is_nil(rawget(_G, "GLOBAL"))
  end)

  it("gets the table that the old script returned, which is released after that", function()
    local old = setmetatable({}, { __mode = "k" })
    package.loaded["tidewire.spec_of_reload"] = function(value) old[value] = true end
    start(TOP .. 'local app = { endpoints = { ["/"] = {} }, extra_state = nil } note(app) '
      .. 'return app')
    local conn = world:connect()
    world:load_and_activate(TOP .. 'return { endpoints = { ["/"] = {} }, on_reload = function(old) '
      .. 'note(old) end }')
    world:load_and_activate(echo "c")
    collectgarbage()
    collectgarbage()
    assert.is_nil(next(old))
    assert.equal("cx", ask(conn, "x"))
  end)
end)
