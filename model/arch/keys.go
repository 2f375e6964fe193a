package arch

import (
	"maps"
	"slices"
	"strings"
)

// Use says what becomes of a key of config.json.
type Use string

const (
	Used      Use = "used"      // it was read
	Copied    Use = "copied"    // it does not concern what a model computes, and is written as it was
	Corrected Use = "corrected" // it counts layers or has an entry for each, and is written anew where they change: see WithLayers
	Ignored   Use = "ignored"   // it changes what models of other families compute; this family's class in transformers does not read it
)

// Key is a key of config.json, with a dot before one within an object, and what becomes of it.
type Key struct {
	Name string
	Use  Use
}

// Keys lists the keys of config.json by name, those within objects behind the others. Keys that are refused or unknown are errors of
// ParseConfig.
func (c *Config) Keys() []Key { return slices.Clone(c.keys) }

// copiedKeys do not concern what a model computes: training, labels of classifiers, special tokens (the tokenizer has its own), names,
// output formats, and ways to compute the same. Sources: PretrainedConfig and the classes of transformers 5.24, and files as they are found.
// A key that a family reads need not be here, nor one that copied accepts by its name's form.
var copiedKeys = words(`
	_name_or_path additional_special_tokens attention_dropout attn_implementation aux_loss_alpha aux_loss_coef base_model bf16 bidirectional_training
	bos_token cache_implementation chat_template chunk_size_feed_forward classifier_activation classifier_bias classifier_proj_size custom_pipelines
	decoder_layerdrop dropout dtype embed_init_std encoder_layerdrop eos_token ep_size experts_implementation finetuning_task flash_attention flash_attn
	fp16 fp32 fuse_attention_ffn fuse_attention_qkv gradient_checkpointing id2label init_device init_method init_std initializer_cutoff_factor initializer_range
	input_jitter_noise is_decoder is_llama_config label2id language layerdrop library_name license make_vocab_size_divisible_by max_batch_size max_seq_len
	max_seq_length max_sequence_length merged_from model_max_length model_name mtp_loss_scaling_factor n_ctx name name_or_path neftune_noise_alpha
	noise_alpha num_labels num_logits_to_keep num_mtp_layers num_nextn_predict_layers onnx output_attentions output_hidden_states output_router_logits
	output_scores pad_to_multiple_of pad_token pad_token_id pad_vocab_size_multiple params_dtype prefix pretraining_tp problem_type recompute
	rescale_prenorm_residual return_dict return_dict_in_generate router_aux_loss_coef router_jitter_noise save_dtype seed seq_aux seq_len seq_length
	sequence_parallel summary_activation summary_first_dropout summary_last_dropout summary_proj_to_labels summary_type summary_use_proj tags
	task_specific_params tensor_parallel tensor_parallel_degree tensor_parallel_output tf_legacy_loss tie_encoder_decoder tie_last_hidden_states
	tokenizer_class tokenizer_name tokenizer_revision tokenizer_type torch_dtype torchscript transformers.js_config transformers_version unk_token
	unk_token_id use_bfloat16 use_cache use_cache_kernel use_cache_quantization use_flash_attention use_flash_attention_2 use_flash_attn use_flash_attn_2
	use_fused_attn use_fused_rms_norm use_fused_rope use_fused_swiglu use_gradient_checkpointing use_kernels use_memory_efficient_attention use_recompute
	use_return_dict use_sdpa use_xformers vocab_file vocab_size_multiple w_init_variance_scale world_size z_loss_coefficient z_loss_weight`)

// otherKeys change what some models compute. A family that does not read one of them ignores it, as transformers' class does: setting an
// attribute that no code looks at. Sources: the configurations of all causal language models in transformers 5.24, and of models with code
// of their own.
var otherKeys = words(`
	auto_map
	H_cycles L_bp_cycles L_cycles _remove_final_layer_norm activation activation_function activation_sparsity_pattern adapter_layer_norm adapter_rank
	adapter_reduction_factor adapter_reuse_layer_norm add_bias_linear add_out_norm add_qkv_bias afn alibi altup_active_idx altup_coef_clip
	altup_correct_scale altup_num_inputs apply_query_key_layer_scaling apply_residual_connection_post_layernorm apply_spec_augment asm attention_bias
	attention_factor attention_head_dim attention_head_size attention_heads attention_hidden_size attention_in_multiplier attention_k_eq_v
	attention_multiplier attention_out_bias attention_out_multiplier attention_softmax_in_fp32 attention_softmax_scale attention_type attention_types
	attention_value_scale attention_window_size attn_bias attn_config attn_dropout_checkpoint attn_layer_indices attn_layer_offset attn_layer_period
	attn_layers attn_logit_softcapping attn_scale attn_temperature_tuning attn_type audio_chunk_size audio_merge_size audio_soft_tokens_per_image
	audio_vocab_size autocast_kernel_dtype axial_norm_std axial_pos_embds axial_pos_embds_dim axial_pos_shape backbone_hidden_size bi_data bias
	block_auto_adjust_ff_dim block_ffn_dim_multiplier block_multiple_of block_size block_types bos_index causal cca_time0 cca_time1
	centroid_intermediate_top_k chain_hidden_post_norm chroma_length chunk_size chunk_size_lm_head chunkwise_kernel clamp_len clip_qkv compress_rates
	compress_rope_theta concat_input context_length conv1d_width conv_L_cache conv_bias conv_kernel conv_kernel_size cross_attention_hidden_size
	cross_attention_layers cross_attn_k d_head d_inner d_model d_rel decoder decoder_attention_heads decoder_bias decoder_ffn_dim decoder_layers
	decoder_sparse_step decoder_vocab_size default_language dense_intermediate_size dff dim_ff dim_head dim_model_base disable_ngram_loss
	do_layer_norm_before dual_chunk_attention_config emb_dim emb_pad emb_scale embedding_dim embedding_fraction embedding_multiplier embedding_scale
	embedding_size enable_bias enable_moe_block enable_moe_fp32_combine enable_pronunciation enable_shape encoder_attention_heads encoder_ffn_dim
	encoder_hash_byte_group_nb_functions encoder_hash_byte_group_size encoder_hash_byte_group_vocab encoder_layers end_n_top eos_index eps expand
	expansion_ratio expert_capacity expert_ffn_hidden_size expert_layer_offset expert_layer_period expert_selection_fn feed_forward_size ff_activation
	ffn_config ffn_dim ffn_hidden_size ffn_proj_factor ffn_round_up_to_multiple_of final_logit_softcapping first_k_dense_replace floor_scale
	fp32_residual_connection full_attn_alpha_factor full_attn_beta_factor full_attn_idxs gate_soft_cap gated_norm_rank gating gelu_activation
	global_attn_every_n_layers global_rope_theta hash_seed hc_count hc_eps hc_lowrank hc_magnitude hc_mult hc_sinkhorn_iters head_dim heads_per_ngram
	hidden_act hidden_act_param hidden_activation hidden_mamba_act hidden_size_per_layer_input image_seq_length image_size index_block_size index_head_dim
	index_local_blocks index_n_heads index_topk index_topk_blocks indexer_budget indexer_compress_ratio indexer_head_dim indexer_kv_heads indexer_n_heads
	indexer_types inference_state_dtype input_embedding_size interleave_moe_layer_step interleaved_sliding_window intermediate_multiple_size
	intermediate_size intermediate_size_mlp is_encoder is_moe kda_lower_bound kda_safe_gate keep_window_size key_multiplier kv_channels kv_channels_list
	kv_lora_rank kv_n_heads lambda_std_dev lang_id languages laurel_rank layer_group_size layer_norm_elementwise_affine layer_norm_eps layer_norm_epsilon
	layer_rope_theta layer_types layernorm_embedding layers_block_type learnable_sink_init learned_pos_emb linear_a_log_max linear_a_log_min
	linear_allow_neg_eigval linear_attn_alpha_factor linear_attn_beta_factor linear_conv_kernel_dim linear_dt_init_floor linear_dt_max linear_dt_min
	linear_head_dim linear_key_head_dim linear_num_heads linear_num_key_heads linear_num_value_heads linear_value_head_dim lm_head_bias lm_head_multiplier
	ln_before_adapter local_attention local_attention_window_len local_attn_chunk_length local_layer_ids local_num_chunks_after local_num_chunks_before
	local_rope_theta log_scaling_alpha log_scaling_n_floor logit_scale logit_softcapping logits_mup_width_multiplier logits_scale logits_scaling
	logits_soft_cap logn_list long_rope_scaling loop_gate_rank loop_layer_index_end loop_layer_index_start loop_num_passes lru_width lsh_attn_chunk_length
	lsh_num_chunks_after lsh_num_chunks_before make_ngram_vocab_size_divisible_by mamba_chunk_size mamba_conv_bias mamba_d_conv mamba_d_head mamba_d_ssm
	mamba_d_state mamba_dt_rank mamba_expand mamba_head_dim mamba_hidden_act mamba_n_groups mamba_n_heads mamba_ngroups mamba_norm_before_gate
	mamba_num_heads mamba_proj_bias mamba_rms_norm mamba_ssm_cache_dtype mask_feature_length mask_feature_min_masks mask_feature_prob mask_index
	mask_time_length mask_time_min_masks mask_time_prob max_inference_chunksize max_patch_length max_sequence_length_rope max_source_positions
	max_target_positions max_window_layers median_filter_width mem_len mixer_rms_eps mlp_alpha_factor mlp_beta_factor mlp_bias mlp_gate_softcap
	mlp_hidden_act mlp_layer_types mlp_multipliers mlp_only_layers mlp_up_softcap mm_tokens_per_image mode moe_apply_router_weight_on_input
	moe_intermediate_size moe_k moe_latent_size moe_layer_end_index moe_layer_freq moe_layer_interval moe_layer_start_index moe_layers moe_norm_min
	moe_num_experts moe_num_shared_experts moe_routed_scaling_factor moe_router_logit_softcapping moe_shared_expert_intermediate_size
	moe_shared_expert_overlap moe_topk mrope_section mtp_hidden_states_first mtp_layer_types mtp_layers_block_type mtp_local_layer_ids mtp_mlp_layer_types
	multi_query multi_query_attention multi_query_group_num mup_base_width mup_enabled n_embd n_group n_groups n_head n_heads n_inner n_input_layers
	n_langs n_layer n_layers n_layers_per_attn_res_block n_local_heads n_mamba_heads n_output_layers n_positions n_recurrent_layers n_recurrent_loops
	n_routed_experts n_shared_experts n_token n_words new_decoder_architecture ngpt_alpha_init ngram ngram_size ngram_vocab_size_base no_bias no_rope
	no_rope_layer_interval no_rope_layers norm_bias norm_eps norm_epsilon norm_reduction_force_float32 norm_topk_prob norm_type normalization_function
	num_attention_heads_per_layer num_blocks num_buckets num_centroids num_channels num_chroma num_codebooks num_decoder_attention_heads
	num_decoder_layers num_dense_layers num_encoder_attention_heads num_encoder_layers num_experts num_experts_per_tok num_experts_per_token num_hashes
	num_heads num_image_with_embedding num_key_value_groups num_key_value_heads num_kv_heads num_layers num_layers_per_stack
	num_ln_in_parallel_attn num_local_experts num_mel_bins num_mem_blocks num_random_blocks num_shared_experts o_groups o_lora_rank
	original_max_position_embeddings original_rope output_embedding_size output_gate_type output_logit_soft_cap output_vocab_size pad_index parallel_attn
	partial_rotary_factor patch_in_forward patch_size patching_batch_size patching_mode patching_threshold ple_conv_kernel_size ple_embed_dim
	ple_layer_ids pooling position_bias_max_distance position_bias_num_buckets position_embedding_type post_layer_norm pre_norm pre_seq_len
	prefix_dense_intermediate_size prefix_dense_sliding_window_pattern prefix_lm prefix_projection projector_bias projector_hidden_act projectors_bias
	prompt_length prompt_mid_dim prompt_types pronunciation_embed_dim pronunciation_vocab_size q_lora_rank qk_dim_factor qk_head_dim qk_l2_clip_threshold
	qk_layernorm qk_nope_head_dim qk_norm qk_rope_head_dim qkv_bias query_pre_attn_scalar query_pre_attn_scaling recurrent_kv_cache_mode rel_extent
	rel_l2_clip_threshold relative_max_distance reorder_and_upcast_attn rescale_embeddings rescale_every residual_in_fp32 residual_multiplier
	residual_scale return_last_states reuse_len rms_norm_eps rms_norm_eps_moe_gate rmsnorm rope_base rope_interleave rope_interleaved rope_local_base_freq
	rope_parameters rope_pct rope_ratio rope_scaling rope_scaling_factor rope_theta rotary_base rotary_dim rotary_emb_base rotary_emb_fraction
	rotary_emb_interleaved rotary_emb_scale_base rotary_pct rotary_percent rotary_value route_scale routed_scaling_factor router_hidden_size
	router_scaling_factor same_length scale_attention_softmax_in_fp32 scale_attn_by_inverse_layer_idx scale_attn_weights scale_depth scale_emb
	scale_embedding scale_qk sconv_kernel_size scoring_func segment_types sequence_kernel shape_embed_dim shape_vocab_size
	share_encoder_decoder_embeddings shared_expert_combination_strategy shared_expert_intermediate_size shared_expert_sink
	shared_experts_intermediate_size shared_intermediate_size short_conv_kernel_size sinusoidal_embeddings sliding_window sliding_window_pattern
	sliding_window_size slow_but_exact softmax_in_fp32 split_ngram_parts ssm_in_multiplier ssm_multipliers ssm_out_multiplier ssm_state_size start_n_top
	state_size step_kernel swa_head_dim swa_num_attention_heads swa_num_key_value_heads swiglu_alpha swiglu_limit task_type_vocab_size tie_weights
	tie_word_embeddings time_step_floor time_step_init_scheme time_step_limit time_step_max time_step_min time_step_rank time_step_scale top_k_experts
	topk_group topk_method type_vocab_size unk_index unpadded_vocab_size use_attention_gate use_bias use_bidirectional_attention use_conv_bias
	use_double_wide_mlp use_dynamic_ntk use_expert_bias use_lang_emb use_learned_position_embeddings use_logn_attn use_long_context use_mamba_kernels
	use_mem_eff_path use_mem_rope use_mems_eval use_mems_train use_mrope use_ordered_embeddings use_parallel_residual use_post_norm use_prompt use_qk_norm
	use_qkv_bias use_rms_norm use_rmsnorm use_sandwich_norm use_shared_attention_adapter use_sliding_window use_task_id use_weighted_layer_sum
	v_dim_factor v_head_dim vision_soft_tokens_per_image vocab_size_per_layer_input vocabulary_map weight_mode window_size word_embed_proj_dim
	zero_expert_num`)

// refusedKeys change what every model computes, or say that the files hold something else than a language model's weights. A value that is
// null, or the one given here, changes nothing.
var refusedKeys = map[string]struct{ harmless, why string }{
	"attention_chunk_size":    {"", "attention in chunks is not supported"}, // the cache of every model follows it
	"compression_config":      {"", "compressed weights are not supported"},
	"encoder_config":          {"", "models with an encoder are not supported"},
	"fusion_config":           {"", "fused modules are not supported"},
	"is_causal":               {"true", "attention to later tokens is not supported"},
	"is_encoder_decoder":      {"false", "models with an encoder are not supported"},
	"configuration_files":     {"", "another file than config.json for some versions of transformers is not supported"},
	"add_cross_attention":     {"false", "attention to an encoder is not supported"},
	"kv_sharing_modes":        {"", "layers that share keys and values are not supported"},
	"num_kv_shared_layers":    {"0", "layers that share keys and values are not supported"},
	"per_layer_config":        {"", "layers of different shapes are not supported"},
	"pruned_heads":            {"{}", "heads that are cut when a model is loaded are not supported"},
	"quantization":            {"", "quantized weights are not supported"}, // of MLX
	"sparsity_config":         {"", "compressed weights are not supported"},
	"transformers_weights":    {"", "weights in a file of another name are not supported"},
	"use_mtp":                 {"false", "prediction of several tokens is not supported"},
	"layers_to_transform":     {"", "adapters are not supported"},
	"peft_type":               {"", "adapters are not supported: merge the adapter into its model first"},
	"base_model_name_or_path": {"", "adapters are not supported: merge the adapter into its model first"},
}

func words(text string) map[string]bool {
	set := map[string]bool{}
	for _, w := range strings.Fields(text) {
		set[w] = true
	}
	return set
}

// copied says whether a key that no family reads does not concern the computation.
func copied(key string) bool {
	if _, ok := generationKeys[key]; ok || copiedKeys[key] || key[:min(1, len(key))] == "_" {
		return true
	}
	for _, prefix := range []string{"unsloth_", "initializer_", "onnx_"} {
		if strings.HasPrefix(key, prefix) {
			return true
		}
	}
	for _, end := range []string{"_dropout", "_dropout_prob", "_pdrop", "_layerdrop", "_token_id", "_token_ids", "_token_index", "_loss_coef"} {
		if strings.HasSuffix(key, end) {
			return true
		}
	}
	return false
}

// settle says what becomes of the keys of a file, or of an object within it whose name is the prefix: those that were not read must be in a
// table, or among others that are ignored. One that is refused or unknown is an error.
func (f *Fields) settle(prefix string, others map[string]bool) (list []Key) {
	for _, key := range slices.Sorted(maps.Keys(f.values)) {
		value, use := clip(string(f.values[key])), Used
		refused, isRefused := refusedKeys[key]
		switch {
		case f.read[key]:
		case !f.has(key): // null
			use = Copied
		case isRefused && value != refused.harmless:
			f.unsupported("%s%s %s: %s", prefix, clip(key), value, refused.why)
		case isRefused, copied(key):
			use = Copied
		case others[key]:
			use = Ignored
		default:
			f.unsupported("%s%s %s: an unknown key, which may change what the model computes: remove it if it does not", prefix, clip(key), value)
		}
		if use != Ignored && prefix == "" && corrected(key, f.values[key]) {
			use = Corrected
		}
		list = append(list, Key{prefix + clip(key), use})
	}
	return list
}
