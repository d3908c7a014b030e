-- shared.lua -- `tw.shared`: small values that all workers see, or all machines of a cluster.
--
-- Checks the arguments of scripts and throws for misuse at the script's line. C has the store
-- itself, its locks and its clock (struct store); shared_cluster.lua has those of a cluster. Keeps
-- the stores that this worker has opened, so that a name gives the same object.

local core = require "tidewire.core"
local log = require "tidewire.log"
local missing = require "tidewire.base.missing"
local option_types = require "tidewire.load.option_types"
local shared_cluster = require "tidewire.shared_cluster"
local suggest = require "tidewire.base.suggest"

local LONGEST_NAME, LONGEST_KEY = 255, core.limits.store_key_bytes -- bytes
local LONGEST_TTL = 1e9 -- seconds
local DEFAULT_BYTES = 64 << 20
local MAX_STORES = core.limits.stores
local MOST_TRIES = 100 -- of update

local names = {} ---@type table<tidewire.Store, string>
--- What a store is for its primitives: C's integer, or a table of shared_cluster.lua.
---@type table<tidewire.Store, integer|tidewire.ClusterStore>
local numbers = {}
local by_name = {} ---@type table<string, tidewire.Store>
local of_cluster = {} ---@type table<string, tidewire.Store>  the same of those with `cluster`
local max_bytes_of = {} ---@type table<tidewire.Store, integer>
--- Stores for which the log has the warning that their max_bytes stays.
---@type table<tidewire.Store, true>
local warned = {}

-- ---- misuse: each error names the line of the script that called the method ----

local function check_store(what, store)
  local number = numbers[store]
  if not number then
    error(("%s: call it with a colon, store:%s(…)"):format(what, what:match("%w+$")), 3)
  elseif of_cluster[names[store]] == store and not core.has_cluster() then
    error(("%s: the store is the cluster's, and this server is in none: set the option cluster of "
      .. "the app"):format(what), 3)
  end
  return number
end

local function check_key(what, key)
  if type(key) ~= "string" then
    local hint = type(key) == "number" and "; use tostring" or ""
    error(("%s: a key must be a string, got %s%s")
      :format(what, option_types.describe(key), hint), 3)
  elseif #key > LONGEST_KEY then
    error(("%s: the key has %d bytes; at most %d are possible"):format(what, #key, LONGEST_KEY), 3)
  end
end

local plain = { string = true, number = true, boolean = true }

---@param longest integer|nil  bytes of a string; nil: any number
local function check_value(what, value, longest)
  if longest and type(value) == "string" and #value > longest then
    error(("%s: the value has %d bytes; at most %d are possible in a store of the cluster")
      :format(what, #value, longest), 3)
  elseif not plain[type(value)] then
    local kind = option_types.kind(value)
    local hint = kind == "table" and "; tw.json.encode makes a string of a table" or ""
    error(("%s: a value must be a string, a number or a boolean, got %s%s")
      :format(what, kind, hint), 3)
  end
end

local function check_number(what, name, value)
  if type(value) ~= "number" then
    error(("%s: %s must be a number, got %s"):format(what, name, option_types.describe(value)), 3)
  end
end

local function check_ttl(what, seconds)
  if seconds ~= nil
    and not (type(seconds) == "number" and seconds > 0 and seconds <= LONGEST_TTL) then
    error(("%s: how long a key lasts must be a number of seconds, more than 0 and at most %d, or "
      .. "nil for ever; got %s"):format(what, LONGEST_TTL, option_types.describe(seconds)), 3)
  end
end

local function check_most(what, max)
  if max ~= nil and not (math.type(max) == "integer" and max >= 1) then
    error(("%s: at most how many must be a whole number, 1 or more; got %s")
      :format(what, option_types.describe(max)), 3)
  end
end

-- ---- what a store can do ----

--- What a store does with keys and values: functions as those of tidewire.core.
--- Where a store of the cluster cannot be asked, each returns nil and a sentence.
---@class tidewire.StorePrimitives
---@field longest integer|nil  bytes of a string at most; nil: any number
---@field get fun(store, key: string): any, string|nil
---@field set fun(store, key: string, value: any, ttl: number|nil): boolean|nil, string|nil
---@field add fun(store, key: string, value: any, ttl: number|nil): boolean|nil, string|nil
---@field incr fun(store, key: string, by: number, initial: number, ttl): number|nil, string|nil
---@field delete fun(store, key: string): boolean|nil, string|nil
---@field expire fun(store, key: string, ttl: number|nil): boolean|nil, string|nil
---@field keys fun(store, max: integer|nil): string[]|nil, string|nil
---@field entries fun(store, max: integer|nil): table<string, any>|nil, string|nil
---@field exchange fun(store, key: string, expected, value, ttl): boolean|nil, string|nil
---@field give_way nil|fun(try: integer)  another was faster, so many times

--- The class of stores that have these primitives.
---@param primitives tidewire.StorePrimitives
local function new_class(primitives)
  ---@class tidewire.Store
  local Store = {}
  Store.__index = Store
  Store.__name = "tidewire.Store"
  Store.__kind = "a store"
  Store.__instead = "send what is in it, store:get(key)"
  missing.watch_class("store", Store)

  function Store:__tostring()
    return ("tidewire.Store %q"):format(names[self])
  end

  --- A field of the object would be seen by this worker only.
  function Store.__newindex(_, key)
    error(("a store has no fields: to keep a value, store:set(%s, value)")
      :format(type(key) == "string" and option_types.quote(key) or "key"), 2)
  end

  --- The value of a key, or nil.
  ---@param key string
  ---@return string|number|boolean|nil value
  function Store:get(key)
    local number = check_store("store:get", self)
    check_key("store:get", key)
    return primitives.get(number, key)
  end

  --- Sets the value and the time of a key; nil deletes the key.
  ---@param key string  at most 1024 bytes
  ---@param value string|number|boolean|nil
  ---@param ttl number|nil  seconds after which the key is deleted; nil: never
  ---@return true|nil ok
  ---@return "full"|nil message  there is no room below the limit; nothing was changed
  function Store:set(key, value, ttl)
    local number = check_store("store:set", self)
    check_key("store:set", key)
    check_ttl("store:set", ttl)
    if value == nil then
      local _, problem = primitives.delete(number, key)
      return not problem or nil, problem
    end
    check_value("store:set", value, primitives.longest)
    return primitives.set(number, key, value, ttl)
  end

  --- Sets the value of a key that has none. Of several workers that try at once, one succeeds.
  ---@param key string
  ---@param value string|number|boolean
  ---@param ttl number|nil  as for set
  ---@return boolean|nil added  false: there is a value, and it stays
  ---@return "full"|nil message
  function Store:add(key, value, ttl)
    local number = check_store("store:add", self)
    check_key("store:add", key)
    check_value("store:add", value, primitives.longest)
    check_ttl("store:add", ttl)
    return primitives.add(number, key, value, ttl)
  end

  --- Adds to a number, in one step for all workers. Throws where the key holds no number, or an
  --- integer would grow beyond 64 bits.
  ---@param key string
  ---@param by number|nil       1 by default
  ---@param initial number|nil  the value of a key that does not exist: 0 by default
  ---@param ttl number|nil      as for set, for a new key; a key that exists keeps its own
  ---@return number|nil value   the new value
  ---@return "full"|nil message
  function Store:incr(key, by, initial, ttl)
    local number = check_store("store:incr", self)
    by, initial = by == nil and 1 or by, initial == nil and 0 or initial
    check_key("store:incr", key)
    check_number("store:incr", "what is added", by)
    check_number("store:incr", "the initial value", initial)
    check_ttl("store:incr", ttl)
    local value, problem = primitives.incr(number, key, by, initial, ttl)
    if problem == "not a number" then
      error(("store:incr: the key %s holds no number"):format(option_types.quote(key)), 2)
    elseif problem == "overflow" then
      error(("store:incr: the integer under the key %s would grow beyond 64 bits")
        :format(option_types.quote(key)), 2)
    elseif problem then
      return nil, problem
    end
    return value
  end

  --- Replaces a key's value by f(value), in one step for all workers: where another worker has
  --- changed the value meanwhile, f is called again with the new value. So f must only compute a
  --- value. f may wait.
  ---@param key string
  ---@param f fun(value: string|number|boolean|nil): string|number|boolean|nil  nil deletes the key
  ---@param ttl number|nil  as for incr, for a new key; a key that exists keeps its own
  ---@return string|number|boolean|nil value  what the last call of f returned
  ---@return "full"|"busy"|nil message        busy: other workers were faster a hundred times
  function Store:update(key, f, ttl)
    local number = check_store("store:update", self)
    check_key("store:update", key)
    check_ttl("store:update", ttl)
    if type(f) ~= "function" then
      error(("store:update: a function of the value is needed, got %s")
        :format(option_types.describe(f)), 2)
    end
    for try = 1, MOST_TRIES do
      local before, failure = primitives.get(number, key)
      if failure then
        return nil, failure
      end
      local after = f(before)
      if after ~= nil then
        check_value("store:update", after, primitives.longest)
      end
      local done, problem = primitives.exchange(number, key, before, after, ttl)
      if done then
        return after
      elseif problem then
        return nil, problem
      end
      if primitives.give_way then
        primitives.give_way(try)
      end
    end
    return nil, "busy"
  end

  --- Deletes a key.
  ---@param key string
  ---@return boolean deleted  false: there was no such key
  function Store:delete(key)
    local number = check_store("store:delete", self)
    check_key("store:delete", key)
    return primitives.delete(number, key)
  end

  --- Sets the time after which a key is deleted, counted from now.
  ---@param key string
  ---@param ttl number|nil  seconds; nil: never
  ---@return boolean exists
  function Store:expire(key, ttl)
    local number = check_store("store:expire", self)
    check_key("store:expire", key)
    check_ttl("store:expire", ttl)
    return primitives.expire(number, key, ttl)
  end

  --- The keys that exist now, in no order. Other workers wait while they are read.
  ---@param max integer|nil  at most this many
  ---@return string[]
  function Store:keys(max)
    local number = check_store("store:keys", self)
    check_most("store:keys", max)
    return primitives.keys(number, max)
  end

  --- The values that exist now, by their keys. Other workers wait while they are copied.
  ---@param max integer|nil  at most this many
  ---@return table<string, string|number|boolean>
  function Store:entries(max)
    local number = check_store("store:entries", self)
    check_most("store:entries", max)
    return primitives.entries(number, max)
  end

  return Store
end

-- ---- tw.shared ----

local Local = new_class {
  get = core.shared_get, set = core.shared_set, add = core.shared_add, incr = core.shared_incr,
  delete = core.shared_delete, expire = core.shared_expire, keys = core.shared_keys,
  entries = core.shared_entries, exchange = core.shared_exchange,
}
local OfCluster = new_class(shared_cluster)

local size_of_stores = { min = 4096, max = 1 << 40 }

local OPTIONS <const> = { "max_bytes", "cluster" }

--- Checks the options. Returns the limit that they name, or nil, and whether the store is the
--- cluster's.
local function read_options(options)
  if options == nil then
    return nil, false
  elseif type(options) ~= "table" then
    error(("tw.shared: options must be a table, got %s"):format(type(options)), 3)
  end
  for key in pairs(options) do
    if key ~= "max_bytes" and key ~= "cluster" then
      error(('tw.shared: unknown option "%s"%s')
        :format(tostring(key), suggest.hint(key, OPTIONS)), 3)
    end
  end
  local of_all = options.cluster
  if of_all ~= nil and type(of_all) ~= "boolean" then
    error(("tw.shared: cluster must be true or false, got %s")
      :format(option_types.describe(of_all)), 3)
  elseif options.max_bytes == nil then
    return nil, of_all == true
  end
  local size = option_types.types.size
  local ok, bytes = size.check(options.max_bytes, size_of_stores)
  if not ok then
    error(("tw.shared: max_bytes must be %s; got %s")
      :format(size.expected(size_of_stores), option_types.describe(options.max_bytes)), 3)
  end
  return bytes, of_all == true
end

local function too_many()
  error(("tw.shared: there are %d stores already; a store is for one kind of thing, its keys are "
    .. "the things"):format(MAX_STORES), 4)
end

local function open(name, max_bytes)
  local number, limit = core.shared_open(name, max_bytes or DEFAULT_BYTES)
  if not number then
    too_many()
  end
  local store = setmetatable({}, Local)
  names[store], numbers[store], max_bytes_of[store], by_name[name] = name, number, limit, store
  return store
end

local cluster_stores = 0

local function open_of_cluster(name, max_bytes)
  if cluster_stores == MAX_STORES then
    too_many()
  end
  cluster_stores = cluster_stores + 1
  local store, limit = setmetatable({}, OfCluster), max_bytes or DEFAULT_BYTES
  names[store], max_bytes_of[store], of_cluster[name] = name, limit, store
  numbers[store] = { name = name, max_bytes = limit }
  return store
end

--- Warns, once for each store, of another max_bytes than the store has: it counts after a restart.
local function warn_of_limit(store, wanted)
  if wanted and wanted ~= max_bytes_of[store] and not warned[store] then
    warned[store] = true
    log.warn("tw.shared: the store was opened before with another max_bytes, which stays until "
      .. "a restart",
      { store = names[store], max_bytes = max_bytes_of[store], wanted = wanted })
  end
end

local shared = {}

--- The store of a name: the same for all workers, until the program ends; with `cluster`, the same
--- for all machines, as long as their Redis keeps it. The first worker that opens it sets its
--- limit; in a cluster each worker applies its own.
---@param name string
---@param options { max_bytes: integer|string|nil, cluster: boolean|nil }|nil  how much it may hold:
---  64 MiB by default; whether all machines of the cluster share it
---@return tidewire.Store
function shared.get(name, options)
  if type(name) ~= "string" or name == "" then
    error(("tw.shared: a name is needed, got %s"):format(option_types.describe(name)), 2)
  elseif #name > LONGEST_NAME then
    error(("tw.shared: the name has %d bytes; at most %d are possible")
      :format(#name, LONGEST_NAME), 2)
  end
  local max_bytes, is_of_cluster = read_options(options)
  local store
  if is_of_cluster then
    store = of_cluster[name] or open_of_cluster(name, max_bytes)
  else
    store = by_name[name] or open(name, max_bytes)
  end
  warn_of_limit(store, max_bytes)
  return store
end

return shared
