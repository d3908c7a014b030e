-- hot_reload_spec.lua -- the hot_reload example: its files change while two users talk, by SIGHUP
-- and by --watch. Tests the new behaviour, the kept state, and a broken edit.
--
-- Each test edits a copy of the example's own text, as a user would.

local loop = require "support.loop"
local process = require "support.process"
local reloads = require "support.reloads"
local server = require "support.server"
local stream = require "support.stream"

local FOLDER = require("luv").cwd() .. "/examples/hot_reload/"
local APP, RULES = process.read_file(FOLDER .. "app.lua"), process.read_file(FOLDER .. "rules.lua")

--- The text with each `from` (as it stands there, once) replaced by the `to` that follows it.
local function edited(text, from, to, ...)
  local first, last = text:find(from, 1, true)
  assert(first, "the example has no " .. from)
  assert(not text:find(from, last + 1, true), "the example has it twice: " .. from)
  text = text:sub(1, first - 1) .. to .. text:sub(last + 1)
  if ... then return edited(text, ...) end
  return text
end

local function version(number, ...)
  return { ["rules.lua"] = edited(RULES, 'VERSION = "1"', ("VERSION = %q"):format(number), ...) }
end

local function shouting(number)
  return version(number, "count, text)\nend", "count, text:upper())\nend")
end

local BROKEN = edited(RULES, "count, text)\nend", "count, text)\n")

local function start(options, app_text)
  return server.start({
    files = { ["app.lua"] = app_text or APP, ["rules.lua"] = RULES }, options = options,
  })
end

local function enter(app, name, rules)
  local peer = app:connect("/room?name=" .. name)
  assert.equal(("* hello %s, here are rules %s"):format(name, rules or "1"), (peer:receive()))
  return peer
end

--- One of the two sends a message, and both receive this.
local function assert_received(peers, number, text, expected)
  peers[number]:send_text(text)
  for _, peer in ipairs(peers) do assert.equal(expected, (peer:receive())) end
end

local function assert_reloaded(peer, generation, new, old, spoken)
  assert.equal(
    ("* generation %d runs: rules %s after rules %s (reloads: %d, what you have said: %d)"):format(
      generation, new, old, generation - 1, spoken), (peer:receive()))
end

describe("examples/hot_reload", function()
  after_each(stream.close_all)

  it("goes on over reloads: counters stay, rules are new", function()
    local app <close> = start()
    local both = { enter(app, "ada"), enter(app, "bob") }
    assert_received(both, 1, "darn, hello", "ada (1): ****, hello")
    assert_received(both, 1, "are you there?", "ada (2): are you there?")
    assert.equal(2, reloads.good(app, shouting("2")))
    assert_reloaded(both[1], 2, "2", "1", 2)
    assert_reloaded(both[2], 2, "2", "1", 0)
    assert_received(both, 2, "yes", "bob (1): YES")
    assert_received(both, 1, "darn", "ada (3): ****")
    assert.equal("2", app:http("/rules").body)
    assert.equal(3, reloads.good(app, version("3", '"darn"', '"duck", "goose"')))
    assert_reloaded(both[1], 3, "3", "2", 3)
    assert_reloaded(both[2], 3, "3", "2", 1)
    assert_received(both, 2, "darn goose", "bob (2): darn *****")
    enter(app, "eve", "3")
    for _, change in ipairs({ "from=1 to=2", "from=2 to=3" }) do
      local pattern = 'message="new rules" .*' .. change
      assert.is_truthy(loop.wait_until(function()
        return #app:log_lines(pattern) == app.workers
      end), change)
    end
  end)

  it("changes nothing after a broken edit, and logs the reason", function()
    local app <close> = start()
    local both = { enter(app, "ada"), enter(app, "bob") }
    assert_received(both, 1, "one", "ada (1): one")
    for why, text in pairs({
      ["rules%.lua:%d+: .-'end' expected"] = BROKEN,
      ["rules%.lua:5: no luck"] = edited(RULES, 'rules.VERSION = "1"', "error('no luck')"),
      ["module 'nowhere' not found.*rules%.lua:3: "] = edited(RULES, "rules = {}",
        'rules = require "nowhere"'),
      ["app%.lua:%d+: tw%.every: seconds must be"] = edited(RULES, "rules.NEWS = 30",
        "rules.OLDS = 30"),
    }) do
      local said = reloads.bad(app, { ["rules.lua"] = text })
      assert(said:find(why), said)
      assert.equal("1", app:http("/rules").body)
    end
    assert_received(both, 1, "darn", "ada (2): ****") -- and no notice came before
    assert_received(both, 2, "two", "bob (1): two")
    assert.equal(2, reloads.good(app, shouting("2")))
    assert_reloaded(both[1], 2, "2", "1", 2)
    assert_reloaded(both[2], 2, "2", "1", 1)
    assert_received(both, 1, "three", "ada (3): THREE")
  end)

  it("keeps connections when rules fail at run time", function()
    local app <close> = start()
    local ada = enter(app, "ada")
    reloads.good(app, version("2", "count, text)\nend", "count, tex:upper())\nend"))
    assert_reloaded(ada, 2, "2", "1", 0)
    assert.equal("* something went wrong here: the log says what", (ada:ask("one")))
    assert.is_truthy(app:wait_for_log("event=script_error .*rules%.lua:%d+: .*'tex'"))
    reloads.good(app, version("3"))
    assert_reloaded(ada, 3, "3", "2", 1)
    assert.equal("ada (2): two", (ada:ask("two")))
  end)

  it("ends a waiting hook in the code in which it began", function()
    -- In place of ten seconds: until a message is handled by rules that give the signal.
    local app <close> = start(nil, edited(APP, "tw.sleep(10)",
      'repeat tw.sleep(0.002) until tw.shared("signals"):get("given")'))
    local ada, bob = enter(app, "ada"), enter(app, "bob")
    ada:send_text("later darn")
    assert.equal("* in ten seconds", (ada:receive()))
    ada:send_text("and now?")
    reloads.good(app, version("2", "  for _, word",
      '  require("tidewire").shared("signals"):set("given", name == "bob")\n'
        .. "  for _, word", '"darn"', '"now"'))
    assert_reloaded(bob, 2, "2", "1", 0)
    bob:send_text("darn now")
    local received = { ada:receive_many(2), bob:receive_many(2) }
    for _, two in ipairs(received) do
      table.sort(two) -- bob's may be on its way from another worker
      assert.same({ "ada (1): ****", "bob (1): darn ***" }, two)
    end
    assert_reloaded(ada, 2, "2", "1", 1)
    assert.equal("ada (2): and ***?", (ada:receive()))
    assert.equal("ada (2): and ***?", (bob:receive()))
  end)

  it("has one news timer, after any number of loads", function()
    local app <close> = start()
    local ada = enter(app, "ada")
    local function receive_until(pattern)
      local text
      repeat text = assert(ada:receive()) until text:find(pattern)
      return text
    end
    for generation = 2, 4 do
      reloads.good(app, version(tostring(generation), "NEWS = 30", "NEWS = 0.02"))
      receive_until(("^%%* news of generation %d: 1 here$"):format(generation))
    end
    for _ = 1, 20 do assert.equal("* news of generation 4: 1 here", receive_until("news")) end
  end)

  it("reloads after a save with --watch", function()
    local app <close> = start({ "--watch" })
    local both = { enter(app, "ada"), enter(app, "bob") }
    -- As many editors do, and so that half a file is never seen.
    local function save(files)
      reloads.write(app, { ["rules.lua~"] = files["rules.lua"] })
      assert(os.rename(app.directory .. "/rules.lua~", app.directory .. "/rules.lua"))
    end
    assert_received(both, 1, "one", "ada (1): one")
    save(shouting("2"))
    assert.equal(2, reloads.wait(app, 1).generation)
    assert_reloaded(both[1], 2, "2", "1", 1)
    assert_reloaded(both[2], 2, "2", "1", 0)
    assert_received(both, 1, "two", "ada (2): TWO")
    save({ ["rules.lua"] = BROKEN })
    local outcome = reloads.wait(app, 2)
    assert.is_true(outcome.failed)
    assert.is_truthy(outcome.line:find("rules%.lua:%d+: "), outcome.line)
    assert_received(both, 2, "three", "bob (1): THREE")
    save(version("3"))
    assert.equal(3, reloads.wait(app, 3).generation)
    assert_reloaded(both[1], 3, "3", "2", 2)
    assert_reloaded(both[2], 3, "3", "2", 1)
    assert_received(both, 1, "darn", "ada (3): ****")
  end)
end)
