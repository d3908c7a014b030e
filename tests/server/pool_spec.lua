-- pool_spec.lua -- tw.pool: calls, their arguments and results, errors, limits.

local pooled = require "support.pooled"
local server = require "support.server"

local MODULE = [[
local M = {}

function M.echo(...) return ... end
function M.count(...) return select("#", ...) end

local function inner(text)
  error(text)
end
function M.fails(text)
  inner(text)
  return 1
end
function M.throws(value) error(value) end
function M.returns_function() return 1, { x = { print } } end
function M.loops()
  while true do pcall(function() while true do end end) end
end
function M.loops_in_coroutine()
  local function loop() while true do end end
  return coroutine.wrap(function() while true do pcall(coroutine.wrap(loop)) end end)()
end
function M.hoards()
  local t = {}
  for i = 1, math.huge do t[i] = ("x"):rep(100000) .. i end
end
local kept = {}
local function fill()
  while true do kept[#kept + 1] = ("x"):rep(4000) .. #kept end
end
function M.keeps()
  for _ = 1, 20 do pcall(fill) end -- what was garbage is free again each time
  return ("x"):rep(1 << 26)
end
function M.kept() return #kept end
function M.keeps_bytes(size)
  local strings = {}
  pcall(function()
    while true do strings[#strings + 1] = ("x"):rep(size) .. #strings end
  end)
  return #strings * size
end
function M.exits() os.exit(3) end
function M.library()
  local tw = require "tidewire"
  tw.log.info("from a thread", { number = 7 })
  return tw.json.encode({ a = tw.array() }), type(tw.now()), type(tw.time()), tw.inspect({ 1 })
end
function M.sends() return require("tidewire").send("1-1-1", "text") end
function M.loads_luv() return require "luv" end
M.state = 0
function M.add(n) M.state = M.state + n return M.state end
M.text = "no function"

return M
]]

local app, ada

local function ask(source)
  return pooled.ask(ada, source)
end

describe("tw.pool", function()
  setup(function()
    app = server.start(pooled.options(MODULE,
      "{ threads = 2, timeout = 600, memory = '16M', budget = 4 }"))
  end)
  teardown(function() app:stop() end)
  before_each(function() ada = app:connect("/run") end)
  after_each(function() ada:close() end)

  it("passes plain data in both directions", function()
    assert.equal('1 | nil | 2.0 | "x\\0y" | true | { 1, 2, a = { b = false } } | nil',
      ask [[pool:call("echo", 1, nil, 2.0, "x\0y", true, { 1, 2, a = { b = false } }, nil)]])
    assert.equal("", ask [[pool:call("echo")]])
    assert.equal("0", ask [[pool:call("count")]])
    assert.equal("3", ask [[pool:call("count", nil, nil, nil)]])
    assert.equal('"integer" | "float" | true | true | true', ask [[
      local i, f, inf, nan, zero = pool:call("echo", 3, 3.0, math.huge, 0/0, -0.0)
      return math.type(i), math.type(f), inf == math.huge, nan ~= nan, 1 / zero == -math.huge
    ]])
    assert.equal("1000000", ask [[#pool:call("echo", ("x"):rep(1000000))]])
  end)

  it("refuses other arguments, at the line of the call", function()
    for source, expected in pairs {
      [ [[pool:call("echo", 1, { rows = { {}, { run = print } } })]] ] =
        "run:1: pool:call: argument #2.rows[2].run is a function",
      [ [[pool:call("echo", io.stdout)]] ] = "argument #1 is a userdata, FILE*",
      [ [[pool:call("echo", coroutine.create(print))]] ] = "argument #1 is a coroutine",
      [ [[pool:call("echo", conn)]] ] = "argument #1 is a connection",
      [ [[pool:call("echo", { tw.null })]] ] = "argument #1[1] is tw.null, JSON's null: pass nil",
      [ [[local t = {} t.t = { t } return pool:call("echo", t)]] ] =
        "argument #1.t[1] is a table that contains itself",
      [ [[local t = {} for i = 1, 200 do t = { t } end return pool:call("echo", t)]] ] =
        "is too deep: 100 tables in tables are the most",
      [ [[pool:call("echo", ("x"):rep(17 << 20))]] ] = "argument #1 is too large",
      [ [[pool:call(7)]] ] =
        "the first argument must be the name of a function of the module, got 7",
      [ [[pool.call("echo")]] ] = "run:1: pool:call: call it with a colon, pool:call(…)",
      [ [[pool:call("ecko")]] ] =
        'run:1: pool:call: the module db has no function "ecko"; did you mean "echo"?',
      [ [[pool:call("text")]] ] = 'has no function "text"; it is',
    } do
      local line = ask(source)
      assert.truthy(line:find("threw ", 1, true) and line:gsub('\\"', '"'):find(expected, 1, true),
        source .. ": " .. line)
    end
  end)

  it("throws what the function throws, with the traceback of the thread", function()
    local line = ask [[
      local ok, err = pcall(pool.call, pool, "fails", "broken")
      return ok, err.message, tostring(err), err.kind, err.value, err.traceback, err.pool, err.call
    ]]
    local ok, message, text, kind, value, traceback, name, call = line:match(
      '^(%w+) | "(.-)" | "(.-)" | "(.-)" | "(.-)" | "(.-)" | "(.-)" | "(.-)"$')
    local broken = "db.lua:7: broken"
    assert.same({ "false", broken, broken, "script", broken, "db", "fails" },
      { ok, message, text, kind, value, name, call }, line)
    assert.truthy(traceback:find("db.lua:7: in upvalue 'inner'", 1, true), traceback)
    assert.truthy(traceback:find("db.lua:10: in ", 1, true), traceback)
    assert.equal("false | { code = 7 } | nil", ask [[
      local ok, err = pcall(pool.call, pool, "throws", { code = 7 })
      return ok, err.value, err.value.x
    ]])
    assert.truthy(ask([[pool:call("returns_function")]])
      :find("result #2 of returns_function.x[1] is a function", 1, true))
  end)

  it("limits the memory of a thread", function()
    local line = ask [[
      local ok, err = pcall(pool.call, pool, "hoards")
      return err.kind, err.message
    ]]
    assert.truthy(line:find('^"memory" | "not enough memory: the pool\'s option memory'), line)
    assert.equal("5", ask [[pool:call("echo", 5)]])
  end)

  it("loads the module anew in a thread whose memory it keeps", function()
    assert.truthy(ask([[pool:call("keeps")]]):find("not enough memory", 1, true))
    local line = app:wait_for_log("event=memory_full pool=db ")
    assert.truthy(line:find("the thread loads it anew", 1, true), line)
    for _ = 1, 4 do -- each thread
      assert.equal("0", ask [[pool:call("kept")]])
    end
  end)

  it("cannot end the process from a thread", function()
    assert.truthy(ask([[pool:call("exits")]])
      :find("os.exit: a thread of a pool cannot end the server", 1, true))
  end)

  it("has the harmless part of the library in a thread", function()
    assert.equal([["{\"a\":[]}" | "number" | "number" | "{ 1 }"]], ask [[pool:call("library")]])
    local line = app:wait_for_log('message="from a thread"')
    assert.truthy(line:find("event=script pool=db ", 1, true) and line:find("number=7"), line)
    assert.truthy(ask([[pool:call("sends")]])
      :find("tw.send: this is a thread of the pool", 1, true))
    assert.truthy(ask([[pool:call("loads_luv")]]):find("luv has no loop in a thread", 1, true))
  end)

  it("lets other connections go on while a function blocks", function()
    local bob = app:connect("/run")
    ada:send_text [[pool:call("echo", os.time())]]
    ada:receive(60)
    ada:send_text [[pool:call("echo", "late")]]
    bob:send_text [["at once"]]
    assert.equal('"at once"', (bob:receive(60)))
    assert.equal('"late"', (ada:receive(60)))
    bob:close()
  end)

  it("says what is wrong with the options", function()
    for source, expected in pairs {
      [ [[tw.pool("db", { thread = 2 })]] ] = 'tw.pool: ',
      [ [[tw.pool("db", { threads = 0 })]] ] = "tw.pool: ",
      [ [[tw.pool("db", { threads = 2000 })]] ] = "at most 1024",
      [ [[tw.pool(7)]] ] = "module must be a name as for require",
      [ [[tw.pool("none")]] ] = "module 'none' not found",
      [ [[tw.pool("db", { threads = 3 })]] ] =
        "the option threads is another one than where the pool was made",
      [ [[pool:with { timeout = -1 }]] ] = "pool:with: ",
    } do
      local line = ask(source)
      assert.truthy(line:find("threw ", 1, true) and line:find(expected, 1, true),
        source .. ": " .. line)
    end
  end)
end)

describe("the budget of a pool", function()
  it("ends endless loops", function()
    local other <close> = server.start(pooled.options(MODULE,
      "{ threads = 1, timeout = 600, budget = 0.25 }"))
    local bob = other:connect("/run")
    for _, name in ipairs { "loops", "loops_in_coroutine" } do
      local line = pooled.ask(bob,
        ('local ok, err = pcall(pool.call, pool, %q) return err.kind, err.message'):format(name))
      assert.truthy(line:find('^"timeout" | "db.lua:%d+: ended after .* seconds of CPU time; '
        .. "the pool's budget allows 0.25 seconds"), line)
    end
    assert.equal("5", pooled.ask(bob, [[pool:call("echo", 5)]]))
    bob:close()
  end)
end)

describe("an error in a thread", function()
  it("goes to on_error and to the log as one of the hook", function()
    local other <close> = server.start({
      app = [[
        local tw = require "tidewire"
        local pool = tw.pool("db", { threads = 1 })
        return {
          handle_message = function(conn) pool:call("fails", "broken") end,
          on_error = function(conn, err)
            conn:send(table.concat({ err.kind, err.hook, err.message, err.traceback }, "|"))
            return false
          end,
        }
      ]],
      files = { ["db.lua"] = MODULE },
    })
    local bob = other:connect("/")
    local line = bob:ask("go", 60)
    bob:close()
    assert.truthy(line:find("script|handle_message|db.lua:7: broken|", 1, true), line)
    assert.truthy(line:find("db.lua:10: in ", 1, true), line)
    assert.truthy(line:find("app.lua:4: in ", 1, true), line)
    assert.truthy(other:wait_for_log(
      'event=script_error.*hook=handle_message why="db.lua:7: broken"'))
  end)
end)

-- The buffer of string.rep has an error at the limit, where Lua's own allocations collect garbage.
-- The calls before teach the collector that most of what is allocated stays.
describe("the memory of a thread", function()
  it("is for objects, and not for garbage", function()
    for _, size in ipairs { 4000, 20000, 100000 } do
      local other <close> = server.start(pooled.options(MODULE,
        "{ threads = 1, timeout = 600, memory = '16M' }"))
      local bob = other:connect("/run")
      for _ = 1, 2 do
        pooled.ask(bob, [[pcall(pool.call, pool, "hoards")]])
        local kept = tonumber((pooled.ask(bob, ('pool:call("keeps_bytes", %d)'):format(size))))
        assert.truthy(kept > 12 << 20, size .. ": " .. kept)
      end
      bob:close()
    end
  end)
end)

describe("a module that empties the table of globals", function()
  it("can still be called, and its errors are described", function()
    local other <close> = server.start(pooled.options([[
      local globals, error, next = _G, error, next
      local M = {}
      function M.empties()
        for name in next, globals do globals[name] = nil end
      end
      function M.fails() error("broken") end
      function M.throws() error { 1 } end
      return M
    ]], "{ threads = 1 }"))
    local bob = other:connect("/run")
    local function ask_error(call)
      return pooled.ask(bob, ([[
        local _, err = pcall(pool.call, pool, %s)
        if type(err) ~= "table" then return err end
        return err.kind, err.message, err.traceback:find("db.lua:%%d+: in ") ~= nil
      ]]):format(call))
    end
    assert.equal("", pooled.ask(bob, [[pool:call("empties")]]))
    assert.equal('"script" | "db.lua:6: broken" | true', ask_error '"fails"')
    assert.equal('"script" | "table: { 1 }" | true', ask_error '"throws"')
    assert.truthy(ask_error('"fail"'):find('did you mean \\"fails\\"?', 1, true))
    bob:close()
  end)
end)
