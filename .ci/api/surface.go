package main

// surface is what embedding programs are promised, from what runs down to what it is made of. Whatever a promised name mentions is promised
// too; of types that hold more than such a program needs, only parts.
var surface = []promise{
	{path: "prune", all: `
		NewPlan Options Plan Prediction Depth Depths Recommended
		Output CheckOutput DefaultWork StepDir Status Unfinished ErrExists Result
		Lineage ParseLineage ReadLineage ReadTree Source Device Calibration Record Passes RefitRecord DistillRecord AutoRecord Trial Part
		NewAuto Auto AutoOptions Candidate Candidates DefaultBudget MinAutoWindows
		NewDistillation Distillation DistillationOptions DistillOptions DistillAtEnd DistillEach DistillWhole Schedules MergeParts
		NewRefitting Refitting RefittingOptions
		Compare CompareOptions Comparison Compared
		ComputeStats StatsOptions
		WriteCard CardOptions`},
	{path: "prune/method", all: `
		Names Lookup Entry Needs Tree Scores Operation`,
		fields: "Options CoMe CoMeP Drop Greedy LaCo MKA Magnitude PruneComp ReplaceMe Reverse SLEB ShortGPT Streamline Taylor Union WeightSum",
		parts: map[string]string{
			"Method": "Name Needs Options Effective", "State": "",
			"Step": "From To Operation MergeList DropList Layers Ratio BI SBI Losses Scores Scale Refit"}},
	{path: "prune/refit", all: "Options Fit Projections DefaultLambdas"},
	{path: "prune/distill", all: "Options Group Groups ParseMap Inputs Moments NoGroups Status Stage Record"},
	{path: "prune/score", all: "OpenStats Merge SaveOptions", parts: map[string]string{"Stats": "Model Corpus Total Begin Windows Computed Seed Source Layers Whole Save"}},
	{path: "prune/report", all: "Read File Output ReadOutput WeightFile Run Compare Formats ErrNothing ErrTooMuch",
		parts: map[string]string{"Page": "Title Runs Outputs Comparisons Write"}},
	{path: "model", all: "Open Hash SameVocabulary ErrLasting NonFiniteError Lineage FileList Losses", parts: map[string]string{
		"Model": "Config Layers Name Path Files Converted Bytes Parameters DTypes Tokenizer CheckFiles CheckFinite Unchanged Unused Close",
		"Layer": "Bytes Parameters"}},
	{path: "model/embedded", all: "Open Files Name Text"},
	{path: "model/files", all: "ErrChanged"},
	{path: "model/hub", all: "Repo Kind IsName", parts: map[string]string{
		"Hub": "Cache Endpoint Token Offline Progress Begin Config Model CachedModels IsOffline"}},
	{path: "model/arch", parts: map[string]string{
		"Config": "Architecture ModelType HiddenSize IntermediateSize Layers Heads KVHeads HeadDim VocabSize MaxPositionEmbeddings TieWordEmbeddings BOS EOS DType JSON"}},
	{path: "model/dtype", parts: map[string]string{"DType": "Size String"}},
	{path: "model/convert", all: "To Options Result Check IsGGUF Types ParseType"},
	{path: "model/gguf", parts: map[string]string{"Type": "String"}},
	{path: "model/tokenizer", all: "Load", parts: map[string]string{
		"Tokenizer": "Encode EncodeSpecial Decode DecodeSkipSpecial VocabSize Token ID BOS EOS Prefix Suffix"}},
	{path: "model/corpus", all: "Load Options Corpus Pack BOS Names Cut Sample Hash Encode EncodeSpecial ReadTokens"},
	{path: "model/generate", all: "NewWriter Writer WriterOptions Sampling Chat Turn New Generator"},
	{path: "model/chat", all: "Open Template Message Text ParseMessages Options ErrNone"},
	{path: "model/chat/jinja", parts: map[string]string{"Dict": "Get Set Len"}},
	{path: "model/eval", all: "RunPerplexity RunPerplexityWith Perplexity PerplexityOptions RunKLD KLD Estimate Quantiles RunTasks TaskOptions ReadResults Metrics Documents",
		parts: map[string]string{"Results": "Results Groups Documents Table GroupTable Save"}},
	{path: "model/eval/task", all: "Find", parts: map[string]string{"Task": "Name Alias Version", "Group": "Name", "Source": "Dir Hub"}},
	{path: "model/run", all: "Footprint Divergence", parts: map[string]string{"Options": "Host"}},
	{path: "model/states", all: "HostStats", parts: map[string]string{"HostMemory": "Limit Dir Stats"}},
	{path: "model/train", all: "Memory Objective"},
	{path: "vk", all: `
		Devices Kind Tier ParseTier Limits CoopShape Open MemoryStats
		ErrNoDevice ErrOutOfMemory ErrDeviceLost ErrLimit ErrClosed`,
		parts: map[string]string{
			"Options": "Device MaxTier MaxMemory Validate CacheDir",
			"Info":    "Index Name UUID Kind KindName Tier TierName Driver DriverVersion API Int64 Limits CoopShapes",
			"Device":  "Info Tier Limits Memory MemoryLimit Close"}},
}
