// tidewire.js -- made from tidewire.mjs, which is to be read and edited.
(()=>{"use strict";
let same=(data)=>data;
let codecs={
json:{
encode:(value)=>JSON.stringify(value),
decode:(data,kind)=>(kind==="text"?JSON.parse(data):data),
},
text:{encode:String,decode:same},
binary:{encode:same,decode:same},
};
let defaults={
codec:"json",session:false,token:undefined,tokenIn:"query",protocols:[],
heartbeat:undefined,timeout:10000,queue:{},backoff:{},finalCodes:[],connect:true,
WebSocket:undefined,
};
let STEADY=2000;
let ACKNOWLEDGE=500;
let MOST_MESSAGES=32;
let MOST_BYTES=16384;
let now=()=>performance.now();
let call=(value)=>(typeof value==="function"?value():value);
let problem=(kind,message=kind)=>Object.assign(new Error(message),{kind});
let isId=(value)=>Number.isInteger(value)&&value>0;
let hasOnly=(value,...names)=>Object.keys(value).every((name)=>names.includes(name));
let listen=(way,handler)=>{
for(let name of ["online","offline","visibilitychange","pagehide","pageshow"]){
globalThis[way+"EventListener"]?.(name,handler);
}
};
let controlOf=(data)=>{
try{
return typeof data==="string"&&/"(p[io]ng|session)"/.test(data)&&JSON.parse(data)||{};
}catch{
return{};
}
};
let newSecret=async()=>{
let crypto=globalThis.crypto
??(await import("node:crypto")).webcrypto;
return crypto.getRandomValues(new Uint8Array(24))
.reduce((text,byte)=>text+byte.toString(16).padStart(2,0),"");
};
class Tidewire{
state="closed";
latency=null;
#a;
#b;
#c;
#d;
#e={};
#f=Object.create(null);
#g;
#h;
#i=0;
#j;
#k;
#l={};
#m=[];
#n=0;
#o=0;
#p=0;
#q=0;
#r=0;
#s=0;
#t=0;
#u;
#v=0;
#w=new Map();
constructor(url,options={}){
for(let name in options){
if(!(name in defaults))throw new TypeError(`no option "${name}"`);
}
let all=this.#b={...defaults,...options};
all.queue={messages:10000,bytes:8<<20,...all.queue};
all.backoff={min:500,max:15000,...all.backoff};
all.WebSocket??=globalThis.WebSocket;
if(!all.WebSocket)throw new TypeError("pass the option WebSocket");
this.#c=codecs[all.codec]??all.codec;
if(!this.#c?.encode||!this.#c.decode)throw new TypeError("no such codec");
this.#a=url;
if(typeof url!=="function")this.#x(url);
if(all.connect)this.connect();
}
on(event,handler){
(this.#e[event]??=new Set()).add(handler);
return this;
}
off(event,handler){
this.#e[event]?.delete(handler);
return this;
}
answer(type,handler){
this.#f[type]=handler;
return this;
}
get queued(){
return this.#m.length;
}
connect(){
if(this.state==="closed"||this.state==="waiting"){
listen("add",this.#y);
this.#z();
}
return this;
}
disconnect(code=1000,reason=""){
if(this.state==="closed")return;
if(code!==1000&&!(code>=3000&&code<=4999))throw new TypeError("no such code");
this.#A(code,reason);
this.#B({code,reason,wasClean:true});
}
send(value){
return this.#C(value).promise;
}
ask(type,data,{timeout=10000}={}){
let id=++this.#v;
let item=this.#C({type,ask:id,data});
let promise=new Promise((resolve,reject)=>{
item.end=(error,result)=>{
clearTimeout(timer);
this.#w.delete(id);
if(error)reject(error);
else resolve(result);
};
let timer=setTimeout(item.end,timeout,problem("timeout"));
this.#w.set(id,item);
item.promise.catch(item.end);
});
promise.catch(same);
return promise;
}
#x(url){
let address=new URL(url,globalThis.location?.href);
address.protocol=address.protocol.replace("http","ws");
address.hash="";
return address;
}
#z(){
this.#k=0;
this.#D();
}
async #D(){
let{session,token,tokenIn,protocols,timeout,WebSocket}=this.#b;
let turn=++this.#i;
clearTimeout(this.#l.retry);
this.#E(timeout,()=>this.#F(1006,"timeout"));
this.#G("connecting");
try{
let offers=[...protocols];
let address=this.#x(await call(this.#a));
let query=address.searchParams;
let secret=await call(token);
if(secret!=null&&tokenIn==="query")query.set("token",secret);
else if(secret!=null)offers.push(secret);
if(session){
query.set("session",this.#d??=session===true?await newSecret():session);
query.set("received",this.#q);
}
if(turn!==this.#i)return;
let socket=this.#g=new WebSocket(address.href,offers);
socket.binaryType="arraybuffer";
socket.onopen=()=>session||this.#H(false);
socket.onmessage=({data})=>this.#I(data);
socket.onclose=({code,reason,wasClean})=>this.#F(code,reason,wasClean);
socket.onerror=same;
}catch(error){
if(turn===this.#i)this.#J(error);
}
}
#J(error){
let turn=this.#i;
this.#K("error",error);
if(turn===this.#i)this.#F(1006,error?.message);
}
#H(resumed){
this.#h=true;
this.#j=now();
this.#E();
this.#L();
this.#G("open");
if(this.#h)this.#K("open",{resumed});
if(this.#b.session||this.#b.heartbeat)this.#M();
}
#A(code,reason){
let socket=this.#g;
this.#g=this.#h=undefined;
this.#i++;
this.#o=0;
for(let name in this.#l)clearTimeout(this.#l[name]);
this.#l={};
if(!socket)return;
socket.onopen=socket.onmessage=socket.onclose=null;
socket.close(code,reason);
if(!this.#b.session)this.#N("closed");
}
#F(code,reason,wasClean=false){
let{backoff:{min,max},finalCodes}=this.#b;
let end={code,reason,wasClean};
if(this.#h&&now()-this.#j>STEADY)this.#k=0;
this.#A();
if(code===1000||code===1008||finalCodes.includes(code)
||code>=4400&&code<=4409&&reason!=="timed out")return this.#B(end);
let delay=(code===1001||code===1012)&&!this.#k?0:Math.random()
*(globalThis.navigator?.onLine===false?max:Math.min(max,min*2**this.#k));
this.#k++;
this.#l.retry=setTimeout(()=>this.#D(),delay);
this.state="waiting";
this.#K("close",{...end,delay,willReconnect:true});
if(this.state==="waiting")this.#G("waiting",{...end,delay});
}
#B(end){
listen("remove",this.#y);
this.#O(()=>true,"closed");
this.#N("closed");
this.#d=undefined;
this.#p=this.#q=0;
this.state="closed";
this.#K("close",{...end,willReconnect:false});
if(this.state==="closed")this.#G("closed",end);
}
#y=({type,persisted})=>{
if(type==="pagehide"&&!persisted){
this.disconnect();
}else if(type==="pagehide"){
this.#A();
this.#G("waiting");
}else if(this.state!=="waiting"){
this.#P(this.#b.timeout / 3);
}else if(type!=="offline"&&(type!=="visibilitychange"||!document.hidden)){
this.#z();
}
};
#C(value){
let item={value};
item.promise=new Promise((resolve,reject)=>{
item.resolve=resolve;
item.reject=reject;
this.#Q(item);
});
item.promise.catch(same);
return item;
}
#Q(item){
let{queue,session}=this.#b;
if(this.state==="closed")throw problem("closed");
let data=this.#c.encode(item.value);
if(ArrayBuffer.isView(data)){
data=new Uint8Array(data.buffer,data.byteOffset,data.byteLength).slice();
}
item.data=data instanceof ArrayBuffer?data.slice():data;
item.bytes=data.byteLength??data.size??new TextEncoder().encode(data).length;
if(this.#R(controlOf(data)))throw problem("refused");
let bytes=this.#n+item.bytes+(!session&&this.#g?.bufferedAmount||0);
if(this.#m.length>=queue.messages||bytes>queue.bytes)throw problem("full");
this.#m.push(item);
this.#n+=item.bytes;
if(this.#h)this.#L();
}
#L(){
while(this.#o<this.#m.length&&this.#g.readyState===1){
let item=this.#m[this.#o++];
item.isWritten=true;
this.#g.send(item.data);
}
if(!this.#b.session)this.#S(Infinity);
else if(this.#o)this.#l.ask??=setTimeout(()=>this.#P(),ACKNOWLEDGE);
}
#S(count){
while(this.#p+1<=count&&this.#m[0]?.isWritten){
let item=this.#m.shift();
this.#n-=item.bytes;
this.#p++;
if(this.#o)this.#o--;
item.resolve();
}
}
#O(isLost,kind){
let lost=this.#m.filter(isLost);
this.#m=this.#m.filter((item)=>!isLost(item));
for(let item of lost){
this.#n-=item.bytes;
item.reject(problem(kind));
}
return lost.map(({value})=>value);
}
#N(kind){
for(let item of this.#w.values()){
if(item.isWritten)item.end(problem(kind));
}
}
#R({type}){
return(type==="ping"||type==="pong")
&&(this.#b.session||this.#b.heartbeat!==false);
}
#I(data){
let kind=typeof data==="string"?"text":"binary";
let control=controlOf(data);
this.#E();
if(!this.#h)return this.#T(control);
if(this.#R(control))return this.#U(control);
this.#q++;
this.#r++;
this.#s+=data.length??data.byteLength;
if(this.#b.session
&&(this.#r>=MOST_MESSAGES||this.#s>=MOST_BYTES)){
this.#V({type:"pong"});
}
let value;
try{
value=this.#c.decode(data,kind);
}catch(error){
return this.#K("error",error);
}
let{ask,answer}=this.#b.codec==="json"&&value||{};
if(isId(ask)&&hasOnly(value,"type","ask","data"))this.#W(value);
else if(isId(answer)&&answer<=this.#v&&hasOnly(value,"answer","data","error")){
let{data:result,error}=value;
this.#w.get(answer)?.end(error&&problem(error.kind,error.message),result);
}else this.#K("message",value,kind);
}
#T({type,resumed,received}){
if(type!=="session")return this.#J(problem("session","no session"));
let lost=[],unsent=[];
if(resumed){
this.#S(received);
}else{
this.#N("lost");
lost=this.#O(({isWritten})=>isWritten,"lost");
this.#q=received=0;
unsent=this.#m.splice(0);
}
this.#p=received;
this.#r=this.#s=0;
let turn=this.#i;
this.#K("session",{resumed,lost});
this.#m=[...this.#m,...unsent];
if(turn===this.#i)this.#H(resumed);
else this.#O((item)=>unsent.includes(item),"closed");
}
async #W({type,ask,data}){
let [other]=this.#e.ask??[];
let handler=this.#f[type]??(other&&(()=>other({type,data})));
let reply={answer:ask};
try{
if(!handler)throw problem("unknown",`nothing answers ${type}`);
reply.data=await handler(data);
JSON.stringify(reply);
}catch(error){
let{kind="failed",message}=error??{};
reply.data=undefined;
reply.error={kind,message:kind==="failed"?kind:message};
if(kind==="failed")this.#K("error",error);
}
this.send(reply);
}
#M(){
let{heartbeat=25000}=this.#b;
if(!this.#h||this.#l.beat||heartbeat===false)return;
this.#l.beat=setInterval(()=>this.#P(),heartbeat);
this.#P();
}
#V(beat){
if(this.#b.session)beat.received=this.#q;
this.#r=this.#s=0;
if(this.#g.readyState===1)this.#g.send(JSON.stringify(beat));
}
#U({type,pingId,received}){
if(type==="ping")this.#V({type:"pong",pingId});
else if(pingId===this.#t)this.latency=now()-this.#u;
if(this.#b.session){
if(received<=this.#p+this.#o)this.#S(received);
this.#L();
}
this.#M();
}
#E(patience,otherwise){
clearTimeout(this.#l.dead);
this.#l.dead=patience&&setTimeout(otherwise,patience);
}
#P(patience=this.#b.timeout){
let{session,timeout}=this.#b;
let timers=this.#l;
timers.ask=undefined;
if(!this.#h||timers.dead&&patience===timeout||!timers.beat&&!session)return;
let socket=this.#g;
let{bufferedAmount}=socket;
let asked=this.#u=now();
this.#V({type:"ping",pingId:++this.#t});
this.#E(patience,()=>{
this.#E();
if(now()-asked>2*patience+1000||socket.bufferedAmount<bufferedAmount){
this.#P(patience);
}else this.#F(1006,"no sign of life");
});
}
#G(state,why){
this.state=state;
this.#K("state",state,why);
}
#K(event,...values){
for(let handler of this.#e[event]??[]){
try{
handler(...values);
}catch(error){
queueMicrotask(()=>{throw error;});
}
}
}
}
globalThis.Tidewire=Tidewire;
if(typeof exports==="object")exports.Tidewire=Tidewire;
})();
