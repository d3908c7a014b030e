-- shared_spec.lua -- tw.shared: the arguments that C gets, and misuse. A fake keeps the stores;
-- tests/unit/test_store.c and tests/server/shared_spec.lua test the real ones.

local fake_core = require "support.fake_core"

local world, tw
local calls -- what C was called with
local answers -- what C answers next, by the name of its function
local sizes -- max_bytes of the stores, by name
local places -- how many stores there may be

local LINE = debug.getinfo(1, "S").short_src:gsub("%p", "%%%0") .. ":(%d+): (.*)$"

--- Functions of bind_shared.c that note their arguments and answer what the spec wants.
local function add_stores(core)
  local numbers, count = {}, 0
  function core.shared_open(name, max_bytes)
    assert(math.type(max_bytes) == "integer")
    if not numbers[name] then
      if count == places then return nil end
      numbers[name], count, sizes[name] = count, count + 1, max_bytes
    end
    return numbers[name], sizes[name]
  end
  for _, name in ipairs {
    "get", "set", "add", "incr", "delete", "expire", "keys", "entries", "exchange",
  } do
    core["shared_" .. name] = function(...)
      table.insert(calls, table.pack(name, ...))
      return table.unpack(answers[name] or {})
    end
  end
end

before_each(function()
  world = fake_core:install()
  calls, answers, sizes, places = {}, {}, {}, 256
  add_stores(world.core)
  tw = require "tidewire"
end)

after_each(function() world:uninstall() end)

--- The message of f's error, which must name the line of this file in which f stands.
local function misuse(f)
  local ok, message = pcall(f)
  assert.is_false(ok)
  local line, text = message:match("^" .. LINE)
  assert(line, "the error is not told at its caller: " .. message)
  assert.equal(debug.getinfo(f, "S").linedefined, tonumber(line))
  return text
end

--- Exactly one call of C has come, with these arguments.
local function assert_call(...)
  assert.same({ table.pack(...) }, calls)
  calls = {}
end

describe("tw.shared", function()
  it("gives the same store for the same name", function()
    local hits = tw.shared("hits")
    assert.equal(hits, tw.shared("hits"))
    assert.not_equal(hits, tw.shared("others"))
    assert.equal('tidewire.Store "hits"', tostring(hits))
  end)

  it("holds 64 MiB, or what the options say", function()
    tw.shared("usual")
    tw.shared("usual options", {})
    tw.shared("number", { max_bytes = 5000 })
    tw.shared("text", { max_bytes = "2M" })
    assert.same({
      usual = 64 << 20, ["usual options"] = 64 << 20, number = 5000, text = 2 << 20,
    }, sizes)
  end)

  it("says once in the log that another max_bytes comes too late", function()
    tw.shared("hits", { max_bytes = "1M" })
    tw.shared("hits", { max_bytes = 1 << 20 })
    tw.shared("hits")
    assert.equal(0, #world.logs)
    tw.shared("hits", { max_bytes = "2M" })
    tw.shared("hits", { max_bytes = "3M" })
    assert.equal(1, #world.logs)
    local line = world.logs[1]
    assert.equal("warn", line.level)
    assert.equal("hits", line.fields.store)
    assert.equal(1 << 20, line.fields.max_bytes)
    assert.equal(2 << 20, line.fields.wanted)
  end)

  it("warns as well where another worker was first", function()
    world.core.shared_open("hits", 5000)
    tw.shared("hits")
    assert.equal(0, #world.logs)
    tw.shared("hits", { max_bytes = 6000 })
    assert.equal(1, #world.logs)
  end)

  it("throws for misuse at the script's line", function()
    assert.equal("tw.shared: a name is needed, got nil", misuse(function() tw.shared() end))
    assert.equal('tw.shared: a name is needed, got string ""', misuse(function() tw.shared("") end))
    assert.equal("tw.shared: the name has 256 bytes; at most 255 are possible",
      misuse(function() tw.shared(("n"):rep(256)) end))
    assert.equal("tw.shared: options must be a table, got number",
      misuse(function() tw.shared("a", 5) end))
    assert.equal('tw.shared: unknown option "maxBytes"; did you mean "max_bytes"?',
      misuse(function() tw.shared("a", { maxBytes = 5000 }) end))
    for _, size in ipairs { 4095, -1, 0.5, "5 apples", true, 1 << 41 } do
      local text = misuse(function() tw.shared("a", { max_bytes = size }) end)
      assert.truthy(text:find("^tw.shared: max_bytes must be a size in bytes from 4096 to 1024G"),
        text)
    end
    assert.same({}, sizes)
  end)

  it("throws for too many stores, with advice", function()
    places = 1
    local hits = tw.shared("hits")
    local text = misuse(function() tw.shared("more") end)
    assert.truthy(text:find("256 stores already; a store is for one kind of thing", 1, true))
    assert.equal(hits, tw.shared("hits"))
  end)
end)

describe("a store", function()
  local store

  before_each(function()
    tw.shared("the first")
    store = tw.shared("the second") -- C's number 1
  end)

  it("gets", function()
    answers.get = { false }
    assert.is_false(store:get("key"))
    assert_call("get", 1, "key")
  end)

  it("has no fields, which no other worker would see", function()
    local ok, message = pcall(function() store.ada = 5 end)
    assert.is_false(ok)
    assert.matches('shared_spec%.lua:%d+: a store has no fields: to keep a value, '
      .. 'store:set%("ada", value%)$', message)
    assert.is_nil(store.ada)
  end)

  it("sets", function()
    answers.set = { true }
    assert.is_true(store:set("key", "value"))
    assert_call("set", 1, "key", "value", nil)
    store:set("key", false, 1.5)
    assert_call("set", 1, "key", false, 1.5)
    answers.set = { nil, "full" }
    assert.same({ n = 2, nil, "full" }, table.pack(store:set("", 1)))
  end)

  it("deletes a key that is set to nil", function()
    answers.delete = { false }
    assert.is_true(store:set("key", nil))
    assert_call("delete", 1, "key")
  end)

  it("adds", function()
    answers.add = { false }
    assert.is_false(store:add("key", 1))
    assert_call("add", 1, "key", 1, nil)
    answers.add = { nil, "full" }
    assert.same({ n = 2, nil, "full" }, table.pack(store:add("key", true, 60)))
    assert_call("add", 1, "key", true, 60)
  end)

  it("adds to numbers, by 1 and from 0 by default", function()
    answers.incr = { 7 }
    assert.same({ n = 1, 7 }, table.pack(store:incr("key")))
    assert_call("incr", 1, "key", 1, 0, nil)
    store:incr("key", 0.5)
    assert_call("incr", 1, "key", 0.5, 0, nil)
    store:incr("key", nil, 10, 60)
    assert_call("incr", 1, "key", 1, 10, 60)
    answers.incr = { nil, "full" }
    assert.same({ n = 2, nil, "full" }, table.pack(store:incr("key")))
  end)

  it("throws where there is no number to add to, and where it would not fit", function()
    answers.incr = { nil, "not a number" }
    assert.equal('store:incr: the key "key" holds no number',
      misuse(function() store:incr("key") end))
    answers.incr = { nil, "overflow" }
    assert.equal('store:incr: the integer under the key "key" would grow beyond 64 bits',
      misuse(function() store:incr("key") end))
  end)

  it("deletes", function()
    answers.delete = { true }
    assert.is_true(store:delete("key"))
    assert_call("delete", 1, "key")
  end)

  it("lets keys end, or never", function()
    answers.expire = { true }
    assert.is_true(store:expire("key", 5))
    assert_call("expire", 1, "key", 5)
    store:expire("key")
    assert_call("expire", 1, "key", nil)
  end)

  it("names its keys", function()
    answers.keys = { { "a", "b" } }
    assert.same({ "a", "b" }, store:keys())
    assert_call("keys", 1, nil)
    store:keys(10)
    assert_call("keys", 1, 10)
  end)

  it("lists its entries", function()
    answers.entries = { { a = 1 } }
    assert.same({ a = 1 }, store:entries())
    assert_call("entries", 1, nil)
    store:entries(10)
    assert_call("entries", 1, 10)
    assert.matches("store:entries: at most how many", misuse(function() store:entries(0) end))
  end)

  it("updates by a function of the value, again after each conflict", function()
    answers.get, answers.exchange = { 5 }, { false }
    local turns = 0
    assert.equal(6, store:update("key", function(value)
      turns = turns + 1
      if turns == 2 then answers.exchange = { true } end
      return value + 1
    end, 30))
    assert.same({ { "get", 1, "key", n = 3 }, { "exchange", 1, "key", 5, 6, 30, n = 6 } },
      { calls[3], calls[4] })
    assert.equal(2, turns)
    answers.exchange = { nil, "full" }
    assert.same({ n = 2, nil, "full" }, table.pack(store:update("key", function() return 1 end)))
    answers.exchange = { false }
    assert.same({ n = 2, nil, "busy" }, table.pack(store:update("key", function() return 1 end)))
    assert.matches("a key must be a string, got 5", misuse(function() store:update(5, print) end))
    assert.matches("a function of the value is needed, got 5",
      misuse(function() store:update("key", 5) end))
    assert.matches("a value must be a string",
      misuse(function() store:update("key", function() return {} end) end))
  end)

  local with_key = {
    get = function(key) store:get(key) end,
    set = function(key) store:set(key, 1) end,
    add = function(key) store:add(key, 1) end,
    incr = function(key) store:incr(key) end,
    delete = function(key) store:delete(key) end,
    expire = function(key) store:expire(key) end,
  }

  for name, call in pairs(with_key) do
    it(("wants a string as a key: %s"):format(name), function()
      local function try(key)
        local ok, message = pcall(call, key)
        assert.is_false(ok)
        local line, text = message:match("^" .. LINE)
        assert.equal(debug.getinfo(call, "S").linedefined, tonumber(line))
        return (text:gsub("store:%a+", "%%"))
      end
      assert.equal("%: a key must be a string, got 42; use tostring", try(42))
      assert.equal("%: a key must be a string, got nil", try(nil))
      assert.equal("%: a key must be a string, got table", try({}))
      assert.equal("%: the key has 1025 bytes; at most 1024 are possible", try(("k"):rep(1025)))
      assert.equal(0, #calls)
      call(("k"):rep(1024))
      assert.equal(1, #calls)
    end)
  end

  it("wants a value that is a string, a number or a boolean", function()
    assert.equal("store:set: a value must be a string, a number or a boolean, got table; "
      .. "tw.json.encode makes a string of a table", misuse(function() store:set("key", {}) end))
    assert.equal("store:add: a value must be a string, a number or a boolean, got nil",
      misuse(function() store:add("key") end))
    assert.equal("store:add: a value must be a string, a number or a boolean, got function",
      misuse(function() store:add("key", print) end))
  end)

  it("wants numbers to add", function()
    assert.equal('store:incr: what is added must be a number, got string "1"',
      misuse(function() store:incr("key", "1") end))
    assert.equal("store:incr: what is added must be a number, got false",
      misuse(function() store:incr("key", false) end))
    assert.equal("store:incr: the initial value must be a number, got true",
      misuse(function() store:incr("key", 1, true) end))
  end)

  it("wants a time that is more than nothing and has an end", function()
    for _, ttl in ipairs { 0, -1, 0 / 0, math.huge, "5", 2e9, true } do
      for _, text in ipairs {
        misuse(function() store:set("key", 1, ttl) end),
        misuse(function() store:set("key", nil, ttl) end),
        misuse(function() store:add("key", 1, ttl) end),
        misuse(function() store:incr("key", 1, 0, ttl) end),
        misuse(function() store:expire("key", ttl) end),
      } do
        local expected = "must be a number of seconds, more than 0 and at most 1000000000, "
          .. "or nil for ever"
        assert.truthy(text:find(expected, 1, true), text)
      end
    end
  end)

  it("wants a whole number of keys", function()
    for _, max in ipairs { 0, -1, 1.5, "5", true } do
      local text = misuse(function() store:keys(max) end)
      assert.truthy(text:find("must be a whole number, 1 or more", 1, true))
    end
  end)

  it("wants to be called with a colon", function()
    assert.equal("store:get: call it with a colon, store:get(…)",
      misuse(function() store.get("key") end))
    assert.equal("store:keys: call it with a colon, store:keys(…)",
      misuse(function() store.keys() end))
    for _, name in ipairs { "set", "add", "incr", "delete", "expire" } do
      local text = misuse(function() store[name]({}, "key", 1) end)
      assert.truthy(text:find("call it with a colon", 1, true))
    end
  end)
end)
