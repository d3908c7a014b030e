-- leaderboard_spec.lua -- the leaderboard example with a real PostgreSQL and a real Redis: scores,
-- the list, and what clients get while one of the two, or both, are killed and started again.
--
-- tests/browser/leaderboard_spec.lua tests the page.

local cjson = require "cjson"
local loop = require "support.loop"
local postgres = require "support.postgres"
local process = require "support.process"
local redis_server = require "support.redis"
local reloads = require "support.reloads"
local server = require "support.server"

local FOLDER = require("luv").cwd() .. "/examples/leaderboard/"

local function missing()
  if not package.searchpath("luasql.postgres", package.cpath) then
    return "lua-sql-postgres is not installed (scripts/install test)"
  end
  if not package.searchpath("redis", "/usr/share/lua/5.3/?.lua") then
    return "lua-redis is not installed (scripts/install test)"
  end
  return postgres.missing() or redis_server.missing()
end

if missing() then
  describe("examples/leaderboard", function()
    pending(missing() .. ": nothing of this is tried here")
  end)
  return
end

describe("examples/leaderboard", function()
  local database, redis

  lazy_setup(function() database, redis = postgres.start(), redis_server.start() end)
  lazy_teardown(function()
    database:stop()
    redis:stop()
  end)
  before_each(function()
    for _, each in ipairs({ database, redis }) do
      if not each.process then each:start() end -- a failed test has left it so
    end
    database:query("DROP TABLE IF EXISTS scores")
    redis:command("FLUSHALL")
  end)

  local function start()
    return server.start({
      app_path = FOLDER .. "app.lua", workers = 1, -- as the app has it
      environment = { DATABASE_URL = database.url, REDIS_URL = redis.url },
    })
  end

  local function receive(peer)
    local text, kind, code, reason = peer:receive()
    assert(text, ("no message came: %s %s %s"):format(kind, code, reason))
    return cjson.decode(text)
  end

  local function receive_of(peer, types)
    local message
    repeat message = receive(peer) until types[message.type]
    return message
  end

  -- The answer to a score, which lists may precede.
  local function receive_answer(peer)
    return receive_of(peer, { saved = true, error = true })
  end

  local function submit(peer, player, points)
    peer:send_text(cjson.encode({ player = player, points = points }))
  end

  local function ask(peer, player, points)
    submit(peer, player, points)
    return receive_answer(peer)
  end

  local function save(peer, player, points, best)
    assert.same({ type = "saved", player = player, best = best or points },
      ask(peer, player, points))
  end

  -- "ada 5 bob 3"
  local function in_words(top)
    local words = {}
    for index, score in ipairs(top) do
      words[index] = ("%s %d"):format(score.player, score.points)
    end
    return table.concat(words, " ")
  end

  local function enter(app)
    local peer = app:connect("/scores")
    return peer, receive(peer)
  end

  local function wait_for_top(peer, expected)
    local list
    repeat list = in_words(receive_of(peer, { top = true }).top) until list == expected
  end

  it("keeps each player's best score, and shows the list to all", function()
    local app <close> = start()
    local ada, first = enter(app)
    assert.same({ type = "top", top = {} }, first)
    local bob = enter(app)
    save(ada, "ada", 5)
    wait_for_top(bob, "ada 5")
    save(bob, "bob", 7)
    wait_for_top(ada, "bob 7 ada 5")
    save(bob, "bob", 3, 7)
    save(ada, "ada", 9)
    wait_for_top(bob, "ada 9 bob 7")
    assert.equal("ada|9\nbob|7", database:query("SELECT player, points FROM scores ORDER BY 1"))
    assert.equal("ada\n9\nbob\n7",
      redis:command("ZREVRANGE", "leaderboard:top", "0", "-1", "WITHSCORES"))
  end)

  it("shows the ten best, in the same order from Redis and from PostgreSQL", function()
    local app <close> = start()
    local ada = enter(app)
    for number = 1, 12 do save(ada, "player " .. number, 100 + number // 2) end
    local expected = "player 12 106 player 11 105 player 10 105 player 9 104 player 8 104 "
      .. "player 7 103 player 6 103 player 5 102 player 4 102 player 3 101"
    wait_for_top(ada, expected)
    redis:kill()
    local second <close> = start()
    assert.equal(expected, in_words(select(2, enter(second)).top))
  end)

  it("has all scores after a restart, also where Redis has lost its own", function()
    local app <close> = start()
    local ada = enter(app)
    save(ada, "ada", 5)
    save(ada, "bob", 7)
    app:kill()
    redis:command("FLUSHALL")
    local second <close> = start()
    local eve, first = enter(second)
    assert.equal("bob 7 ada 5", in_words(first.top))
    assert.equal("2", redis:command("ZCARD", "leaderboard:top"))
    save(eve, "eve", 6)
    wait_for_top(eve, "bob 7 eve 6 ada 5")
  end)

  it("keeps names that look like SQL as they are", function()
    local app <close> = start()
    local ada = enter(app)
    local names = {
      "O'Neil", "'); DROP TABLE scores;--", "' || version() || '", "\\'", "%d %s", "$$", "é",
    }
    for number, name in ipairs(names) do save(ada, name, number) end
    local top
    repeat top = receive_of(ada, { top = true }).top until #top == #names
    for number, name in ipairs(names) do assert.equal(name, top[#names + 1 - number].player) end
    assert.equal(tostring(#names), database:query("SELECT count(*) FROM scores"))
  end)

  it("refuses what is no score", function()
    local app <close> = start()
    local ada = enter(app)
    local name = "player must be a name of 1 to 24 characters"
    local points = "points must be a whole number from 0 to 1000000000"
    for _, case in ipairs({
      { name, "", 1 }, { name, "  ", 1 }, { name, 7, 1 }, { name, nil, 1 }, { name, "a\0b", 1 },
      { name, ("é"):rep(25), 1 }, { points, "ada", nil }, { points, "ada", "1" },
      { points, "ada", -1 }, { points, "ada", 1.5 }, { points, "ada", 1000000001 },
    }) do
      assert.same({ type = "error", error = case[1] }, ask(ada, case[2], case[3]))
    end
    ada:send_text("7")
    assert.equal('send {"player":"ada","points":1200}', receive_answer(ada).error)
    save(ada, ("é"):rep(24), 1000000000)
  end)

  -- Clients that send scores and receive their answers, round after round.
  local CLIENTS, SCORES = 8, 10

  local function enter_many(app)
    local peers = {}
    for number = 1, CLIENTS do peers[number] = enter(app) end
    return peers
  end

  -- One round: all send, `during` is called, and all receive as many answers. Returns how many of
  -- these were errors.
  local points = 0
  local function round(peers, during)
    points = points + 1
    for number, peer in ipairs(peers) do
      for score = 1, SCORES do submit(peer, ("p%d-%d"):format(number, score), points) end
    end
    if during then during() end
    local errors = 0
    for _, peer in ipairs(peers) do
      for _ = 1, SCORES do
        local answer = receive_answer(peer)
        if answer.type == "error" then
          assert.equal("not saved: the database cannot be reached", answer.error)
          errors = errors + 1
        end
      end
    end
    return errors
  end

  local function assert_all_have(number)
    assert.equal("80", database:query("SELECT count(*) FROM scores WHERE points = " .. number))
  end

  it("goes on without Redis that is killed under load, and takes it again", function()
    local app <close> = start()
    local peers = enter_many(app)
    assert.equal(0, round(peers))
    local descriptors
    for _ = 1, 3 do
      assert.equal(0, round(peers, function() redis:kill() end))
      assert.equal(0, round(peers))
      redis:start()
      assert.equal(0, round(peers))
      assert.equal(tostring(points),
        loop.ask_until(function() return redis:command("ZSCORE", "leaderboard:top", "p1-1") end,
          tostring(points)))
      descriptors = descriptors or app.process:fd_count()
    end
    assert.is_truthy(app:wait_for_log('event=script.- message="score not in Redis".-refused'))
    -- some more are idle, but not some for each loss
    assert.is_truthy(loop.wait_until(function()
      return app.process:fd_count() <= descriptors + 4
    end))
    assert_all_have(points)
  end)

  it("says that nothing is saved while PostgreSQL is down, and connects again", function()
    local app <close> = start()
    local peers = enter_many(app)
    assert.equal(0, round(peers))
    local descriptors
    for _ = 1, 3 do
      round(peers, function() database:kill() end) -- some are errors, and all are answered
      assert.equal(CLIENTS * SCORES, round(peers))
      database:start()
      assert.equal(0, loop.ask_until(function() return round(peers) end, 0))
      assert_all_have(points)
      descriptors = descriptors or app.process:fd_count()
    end
    assert.is_truthy(app:wait_for_log('message="score not saved".-[Cc]onnection refused'))
    assert.is_true(app.process:fd_count() <= descriptors + 4)
  end)

  it("loses no score, descriptor or thread through reloads under load", function()
    local app <close> = start()
    local peers = enter_many(app)
    local function reload_under_load(times)
      for _ = 1, times do
        assert.equal(0, round(peers, function() reloads.good(app, {}) end))
      end
    end
    local function count_threads()
      return tonumber(process.read_file("/proc/" .. app.pid .. "/status"):match("Threads:%s*(%d+)"))
    end
    reload_under_load(2)
    local descriptors, threads = app.process:fd_count(), count_threads()
    reload_under_load(10)
    assert.is_truthy(loop.wait_until(function()
      -- a thread connects at its first call: some may not have done so at the first count
      return app.process:fd_count() <= descriptors + 4 and count_threads() <= threads
    end))
    assert_all_have(points)
  end)

  it("starts with the list of Redis while PostgreSQL is down", function()
    local app = start()
    local ada = enter(app)
    save(ada, "ada", 5)
    wait_for_top(ada, "ada 5")
    app:stop()
    database:kill()
    local second <close> = start()
    assert.equal("ada 5", in_words(select(2, enter(second)).top))
  end)

  it("does not wait for ever for one that does not answer", function()
    local app <close> = start()
    local ada = enter(app)
    save(ada, "ada", 5)
    redis:pause()
    save(ada, "ada", 6)
    wait_for_top(ada, "ada 6") -- from PostgreSQL
    assert.is_truthy(app:wait_for_log('message="score not in Redis".-timeout'))
    redis:continue()
    database:pause()
    assert.equal("error", ask(ada, "ada", 7).type)
    assert.is_truthy(app:wait_for_log('message="score not saved".-timeout'))
    database:continue()
    assert.equal("saved", loop.ask_until(function() return ask(ada, "ada", 8).type end, "saved"))
    wait_for_top(ada, "ada 8")
    assert.equal("8", redis:command("ZSCORE", "leaderboard:top", "ada"))
  end)

  it("answers while both are down, and comes back with both", function()
    local app <close> = start()
    local ada = enter(app)
    save(ada, "ada", 5)
    wait_for_top(ada, "ada 5")
    database:kill()
    redis:kill()
    assert.equal("error", ask(ada, "ada", 6).type)
    assert.equal("ada 5", in_words(select(2, enter(app)).top)) -- the last one
    local second <close> = start()
    local bob, first = enter(second)
    assert.same({ type = "error", error = "there is no list now" }, first)
    database:start()
    redis:start()
    save(bob, "bob", 7)
    wait_for_top(bob, "bob 7 ada 5")
    save(ada, "ada", 6)
    wait_for_top(ada, "bob 7 ada 6")
  end)
end)
