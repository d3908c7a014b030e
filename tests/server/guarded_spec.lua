-- guarded_spec.lua -- the functions that scripts have in place of some of Lua's own: they do what
-- Lua's do, with the differences that docs/scripting.md names.

local server = require "support.server"
local stream = require "support.stream"

-- What comes in is a chunk of Lua that runs in a hook; the answer is what it returns, as text.
-- `gone(n, f)` makes so many objects with the finalizer f and lets them go; `apart(f)` calls f
-- where nothing of it stays on this stack. Only at "/brief", and in finalizers of an app with a
-- short default, is time short.
local APP = [[
local tw, record = require "tidewire", require "record"
local environment = setmetatable({ tw = tw, record = record, kept = {} }, { __index = _G })
function environment.gone(count, finalizer)
  for i = 1, count do setmetatable({ number = i }, { __gc = finalizer }) end
  collectgarbage()
end
function environment.apart(f) tw.spawn(f) tw.sleep(0) collectgarbage() tw.sleep(0) end
local function answer(conn, chunk)
  local results = table.pack(pcall(assert(load(chunk, "=chunk", "t", environment))))
  for i = 1, results.n do results[i] = tostring(results[i]) end
  conn:send(table.concat(results, ", "))
end
return {
  defaults = { handler_timeout = DEFAULT_BUDGET },
  endpoints = {
    ["/"] = { handle_message = answer, handler_timeout = 60 },
    ["/brief"] = { handle_message = answer, handler_timeout = 0.2 },
  },
}
]]

local function start(default_budget)
  return server.start({ app = (APP:gsub("DEFAULT_BUDGET", default_budget)), workers = 1 })
end

describe("in a script,", function()
  local app, ada

  lazy_setup(function() app = start("60") end)
  lazy_teardown(function() app:stop() end)
  before_each(function() ada = app:connect("/") end)
  after_each(stream.close_all)

  local function run(chunk)
    return (ada:ask(chunk))
  end

  local function returns(expected, chunk)
    assert.equal("true" .. (expected == "" and "" or ", ") .. expected, run(chunk), chunk)
  end

  local function throws(expected, chunk)
    assert.equal("false, " .. expected, run(chunk), chunk)
  end

  it("pcall does what Lua's does", function()
    returns("true, 1, nil, 3", "return pcall(function(...) return ... end, 1, nil, 3)")
    returns("false, chunk:1: x", "return pcall(function() error 'x' end)")
    returns("false, nil", "return pcall(error)")
    returns("false, attempt to call a nil value", "return pcall(nil)")
    returns("true, false, x", "return pcall(pcall, error, 'x')")
    returns("true, woke", "return pcall(function() tw.sleep(0.001) return 'woke' end)")
    returns("false, chunk:1: late", "return pcall(function() tw.sleep(0.001) error 'late' end)")
    throws("chunk:1: bad argument #1 to 'pcall' (value expected)", "local ok = pcall() return ok")
  end)

  it("xpcall does what Lua's does, and its handler sees the same stack", function()
    returns("true, 1, nil, 3", "return xpcall(function(...) return ... end, print, 1, nil, 3)")
    returns("false, [x]", "return xpcall(error, function(e) return '[' .. e .. ']' end, 'x', 0)")
    returns("false, chunk:2", [[
      return xpcall(function() error("x") end, function()
        local at = debug.getinfo(3, "Sl")
        return at.short_src .. ":" .. at.currentline - 0 + 1
      end)]])
    returns("false, 2",
      "return xpcall(function() tw.sleep(0.001) error(1) end, function() return 2 end)")
    returns("true, woke", "return xpcall(function() tw.sleep(0.001) return 'woke' end, print)")
    assert.matches("bad argument #2 to 'xpcall' %(function expected", run("return xpcall(print)"))
  end)

  it("coroutines do what Lua's do", function()
    returns("true, 1, 2",
      "return coroutine.resume(coroutine.create(function(...) return ... end), 1, 2)")
    returns("false, cannot resume dead coroutine", [[
      local co = coroutine.create(function() end)
      coroutine.resume(co)
      return coroutine.resume(co)]])
    returns("false, cannot resume non-suspended coroutine",
      "return coroutine.resume(coroutine.running())")
    returns("false, chunk:1: x",
      "return coroutine.resume(coroutine.create(function() error 'x' end))")
    returns("3", [[
      local co = coroutine.wrap(function(a) while true do a = a + coroutine.yield(a) end end)
      co(1)
      return co(2)]])
    returns("true, dead",
      "local co = coroutine.create(print) return coroutine.close(co), coroutine.status(co)")
    returns("false, in close", [[
      local co = coroutine.create(function()
        local _ <close> = setmetatable({}, { __close = function()
          error("in close", 0)
        end }) coroutine.yield() end)
      coroutine.resume(co) return coroutine.close(co)]])
    throws("chunk:1: cannot close a running coroutine", "coroutine.close(coroutine.running())")
    throws("cannot close a normal coroutine", [[
      local outer = coroutine.running() local _, problem =
        coroutine.resume(coroutine.create(function()
        return select(2, pcall(coroutine.close, outer)) end)) error(problem, 0)]])
    assert.matches("bad argument #1 to 'close' %(coroutine expected",
      run("return coroutine.close(1)"))
  end)

  it("setmetatable does what Lua's does", function()
    returns("true, true", [[
      local t, mt = {}, { __gc = print } local same = setmetatable(t, mt) == t
      return same, getmetatable(t) == mt and mt.__gc == print]])
    returns("nil", "return getmetatable(setmetatable(setmetatable({}, {}), nil))")
    throws("chunk:1: cannot change a protected metatable",
      "setmetatable(setmetatable({}, { __metatable = 1 }), {})")
    assert.matches("bad argument #1 to 'setmetatable' %(table expected, got number%)",
      run("setmetatable(1, {})"))
    assert.matches("bad argument #2 to 'setmetatable' .nil or table expected, got number",
      run("setmetatable({}, 1)"))
    returns("1", "return setmetatable({}, { __gc = print, __index = { x = 1 } }).x")
  end)

  it("debug.traceback does what Lua's does", function()
    returns("nil", "return debug.traceback()  and nil")
    returns("stack traceback:\n\tchunk:1: in main chunk",
      "return (debug.traceback():gsub('(\\n\\t[^\\n]*)\\n.*', '%1'))")
    returns("what\nstack traceback:\n\t[C]: in function 'coroutine.yield'\n\t"
      .. "chunk:2: in function <chunk:1>", [[
      local co = coroutine.create(function()
        coroutine.yield() end)
      coroutine.resume(co)
      return debug.traceback(co, "what")]])
    returns("42\nstack traceback:", "return debug.traceback(coroutine.create(print), 42)")
    returns("true", "local t = {} return debug.traceback(t) == t")
    returns("x\nstack traceback:", "return debug.traceback('x', 1000)")
  end)

  it("debug.traceback of a deep recursion shows its ends", function()
    local text = run([[
      local function deep(n)
        if n == 0 then return debug.traceback("deep") end
        local text = deep(n - 1)
        return text
      end
      return deep(150000)]])
    local lines = {}
    for line in text:gmatch("[^\n]+") do lines[#lines + 1] = line end
    assert.equal("true, deep", lines[1])
    assert.equal("stack traceback:", lines[2])
    for i = 3, 12 do assert.matches("^\tchunk:[23]: in upvalue 'deep'$", lines[i]) end
    assert.matches("^\t...\t%(skipping 149%d%d%d levels%)$", lines[13])
    assert.matches("\n\t%[C%]: in function 'pcall'\n\tapp.lua:%d+: in function "
      .. "<app.lua:%d+>$", text)
    assert.equal(25, #lines) -- one marks a tail call
  end)

  it("warn is a line in the log", function()
    returns("", "warn('@on') warn('beware', ' of ', 'this') warn('@off') warn(('x'):rep(1000))")
    assert.is_truthy(app:wait_for_log("warn .*event=script_warning why=\"beware of this\""))
    assert.is_truthy(app:wait_for_log("event=script_warning why=x+%f[^x]"))
    assert.equal(2, #app:log_lines("script_warning"))
    for line in app:log():gmatch("[^\n]+") do assert.matches("^%d%d%d%d%-", line) end
  end)

  it("debug.sethook throws, and says why", function()
    assert.matches("^false, chunk:1: debug.sethook: hooks are the server's",
      run("debug.sethook(print, 'c')"))
    assert.matches("^false, chunk:1: debug.sethook: hooks are the server's", run("debug.sethook()"))
  end)

  describe("a finalizer", function()
    it("runs once, with its object, when the hook has given way", function()
      returns("0", [[
        kept.count, kept.sum = 0, 0
        gone(100, function(o) kept.count, kept.sum = kept.count + 1, kept.sum + o.number end)
        return kept.count]])
      returns("100, 5050", "tw.sleep(0) return kept.count, kept.sum")
      returns("100", "collectgarbage() collectgarbage() tw.sleep(0) return kept.count")
    end)

    it("of many objects runs for each", function()
      returns("10000", [[
        kept.count = 0 gone(10000, function() kept.count = kept.count + 1 end)
        while kept.count < 10000 do tw.sleep(0) end return kept.count]])
    end)

    it("does not run while the object lives, whatever refers to it", function()
      returns("false", [[
        apart(function()
          kept.object = setmetatable({}, { __gc = function() kept.ran = true end })
          kept.object.self = kept.object
        end)
        return kept.ran or false]])
      returns("true", "apart(function() kept.object = nil end) return kept.ran")
    end)

    it("may bring its object back, and be asked for it again", function()
      returns("2", [[
        kept.count = 0
        local mt = {}
        function mt.__gc(o)
          kept.count = kept.count + 1
          if kept.count == 1 then setmetatable(o, mt) end
        end
        apart(function() setmetatable({}, mt) end)
        for _ = 1, 4 do collectgarbage() tw.sleep(0) end return kept.count]])
    end)

    it("is that of the metatable at that time; a value that is no function is ignored", function()
      returns("later", [[
        local mt = { __gc = true }
        apart(function() setmetatable({}, mt) mt.__gc = function() kept.which = "later" end end)
        return kept.which]])
      returns("", "apart(function() setmetatable({}, { __gc = true }) end)")
    end)

    it("may wait, and an error in it is logged", function()
      returns("woke", [[
        gone(1, function() tw.sleep(0.001) kept.woke = "woke" end)
        while not kept.woke do tw.sleep(0.001) end return kept.woke]])
      run("gone(1, function() error('in a finalizer') end)")
      assert.is_truthy(app:wait_for_log("hook=__gc why=\"chunk:1: in a finalizer\""))
    end)

    it("of debug.setmetatable is the same", function()
      returns("1", [[
        kept.count = 0
        apart(function()
          debug.setmetatable({}, { __gc = function() kept.count = kept.count + 1 end })
        end)
        return kept.count]])
    end)

    it("that loops is ended, and those after it run", function()
      local brief <close> = start("0.2")
      local eve = brief:connect("/")
      eve:ask([[
        kept.after = 0
        gone(3, function(o) if o.number == 2 then while true do pcall(function()
          while true do end
        end) end end
          kept.after = kept.after + 1 end)]])
      assert.is_truthy(brief:wait_for_log("hook=__gc .*handler_timeout allows 0.2 seconds"))
      assert.equal("true, 2",
        (eve:ask("while kept.after < 2 do tw.sleep(0.001) end return kept.after")))
      assert.equal("true, 1", (eve:ask("return tw.stats().handler_timeouts")))
    end)
  end)

  it("io.popen refuses modes as Lua's does", function()
    throws("chunk:1: bad argument #2 to 'popen' (invalid mode)", "io.popen('true', 'rb')")
    returns("x", "local pipe <close> = io.popen('echo x', nil) return pipe:read()")
  end)

  it("no other integer than an endpoint's number stands for the endpoint", function()
    for _, number in ipairs { "1 << 32", "-1 << 32", "-1", "2" } do
      throws("chunk:1: bad argument #1 to 'endpoint_taken' (no such endpoint)",
        ("return require 'tidewire.core'.endpoint_taken(%s)"):format(number))
    end
    returns("1", "return require 'tidewire.core'.endpoint_taken(0)")
  end)

  it("what a run that is ended leaves open is closed, the inner coroutines first", function()
    local eve = app:connect("/brief")
    eve:send_text([[
      local function open(name)
        return setmetatable({}, { __close = function() record("closed", name) end })
      end
      local _ <close> = open("hook")
      coroutine.wrap(function()
        local _ <close> = open("outer")
        coroutine.wrap(function()
          local _ <close> = open("inner")
          table.sort({ 3, 2, 1 }, function()
            local _ <close> = open("comparator")
            while true do end
          end)
        end)()
      end)()]])
    assert.equal(1011, (eve:wait_closed()))
    local names = {}
    for i = 1, 4 do names[i] = app:wait_event("closed", i)[2] end
    assert.same({ "comparator", "inner", "outer", "hook" }, names)
  end)
end)
